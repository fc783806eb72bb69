/**
 * @module One HTTP/1.1 request on its own connection, as tests need it: streaming bodies, nothing followed, nothing
 * decoded, no proxy variable heeded.
 */
import http, { type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** What is sent. */
export interface CallOptions {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array | AsyncIterable<Uint8Array>;
  /** Covers the call until the headers of the answer, and its body where `call` reads that. */
  signal?: AbortSignal;
  /** An HTTP proxy: the request goes there, in absolute form. */
  proxy?: URL;
}

/** An answer read to its end. */
export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** The body as text. */
  text: string;
}

/**
 * Sends a request and gives the answer with its body unread; who calls must read or destroy it.
 * @throws the error of the socket.
 */
export async function open(url: URL | string, options: CallOptions = {}): Promise<IncomingMessage> {
  const target = new URL(url);
  const via = options.proxy ?? target;
  const { body } = options;
  const request = http.request({
    host: via.hostname.replace(/^\[|\]$/g, ""),
    port: via.port || 80,
    path: options.proxy ? target.href : target.pathname + target.search,
    method: options.method ?? "GET",
    headers: { host: target.host, ...options.headers },
    agent: false,
    signal: options.signal,
  });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    request.once("response", resolve);
    request.once("error", reject);
  });
  if (body === undefined || typeof body === "string" || body instanceof Uint8Array) request.end(body);
  else pipeline(Readable.from(body), request).catch((error) => request.destroy(error));
  return answered;
}

/**
 * Sends a request and reads the answer whole (up to 64 MiB).
 * @throws the error of the socket, or an Error for a body that is cut or too long.
 */
export async function call(url: URL | string, options: CallOptions = {}): Promise<Answer> {
  const response = await open(url, options);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > 64 * 1024 * 1024) throw new Error(`the answer of ${url} is longer than 64 MiB`);
  }
  const body = Buffer.concat(chunks);
  return { status: response.statusCode ?? 0, headers: response.headers, body, text: body.toString("utf8") };
}
