/**
 * @module
 * Makes a fetch `Request` of a Node request.
 */

import type { IncomingMessage } from "node:http";
import type { Http2ServerRequest } from "node:http2";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { isHttp2 } from "./connections.ts";
import type { RequestEnv } from "./server.ts";

/** The request cannot be expressed: the client's fault. */
export class BadRequest extends Error {
  readonly status: 400 | 405;

  constructor(status: 400 | 405, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.status = status;
  }
}

/**
 * Reads the addresses of a request's connection, and its raw target.
 * @param authority Of a request inside a CONNECT: what the client takes this listener for. The target is absolute then.
 */
export function requestEnv(req: IncomingMessage | Http2ServerRequest, authority?: string): RequestEnv {
  const socket = isHttp2(req) ? (req.stream.session?.socket ?? req.socket) : req.socket;
  return requestEnvOf(socket, authority === undefined ? (req.url ?? "/") : insideTarget(authority, req.url ?? "/"));
}

/** The addresses of a connection, for a request of this target. */
export function requestEnvOf(socket: Socket, target: string): RequestEnv {
  return {
    remoteAddress: socket.remoteAddress ?? "",
    remotePort: socket.remotePort ?? 0,
    localAddress: socket.localAddress ?? "",
    localPort: socket.localPort ?? 0,
    secure: "encrypted" in socket && socket.encrypted === true,
    certified: isCertified(socket),
    target,
  };
}

/** Inside a CONNECT there is origin-form alone; anything else stays as it is, which `toRequest` refuses. */
function insideTarget(authority: string, target: string): string {
  return target.startsWith("/") ? `https://${authority}${target}` : "";
}

/**
 * Only ever true where the listener asks for certificates. A resumed session may count as authorized without one. The
 * socket of an HTTP/2 session is a proxy, of which `in` tells nothing.
 */
function isCertified(socket: Socket & Partial<Pick<TLSSocket, "authorized" | "getPeerCertificate">>): boolean {
  return socket.authorized === true && socket.getPeerCertificate?.().raw !== undefined;
}

/**
 * Makes the Request. Its body is not touched before somebody reads it.
 *
 * @throws BadRequest
 */
export function toRequest(req: IncomingMessage | Http2ServerRequest, env: RequestEnv, signal: AbortSignal): Request {
  const method = req.method ?? "GET";
  if (method === "TRACE" || method === "CONNECT" || method === "TRACK") {
    throw new BadRequest(405, `method ${method} is not served`);
  }
  const hasBody = method !== "GET" && method !== "HEAD" && announcesBody(req);
  try {
    return new Request(targetUrl(req, env), {
      method,
      headers: requestHeaders(req),
      signal,
      ...(hasBody ? { body: requestBody(req), duplex: "half" } : {}),
    });
  } catch (cause) {
    if (cause instanceof BadRequest) {
      throw cause;
    }
    throw new BadRequest(400, "malformed request", { cause });
  }
}

const ABSOLUTE_FORM = /^https?:\/\/[^\s/?#@\\]+(?:[/?#]|$)/i;
/** uri-host [":" port] (RFC 9110, 7.2), loosely: nothing that would move the borders of the URL's parts. */
const HOST = /^[^\s/?#@\\]+$/;

function targetUrl(req: IncomingMessage | Http2ServerRequest, env: RequestEnv): string {
  const { target } = env;
  if (ABSOLUTE_FORM.test(target) && !isHttp2(req)) {
    return target;
  }
  const host = (isHttp2(req) ? req.authority : undefined) || req.headers.host || localAuthority(env);
  if (!HOST.test(host)) {
    throw new BadRequest(400, "malformed Host");
  }
  const origin = `${env.secure ? "https" : "http"}://${host}`;
  if (target.startsWith("/")) {
    return origin + target;
  }
  if (target === "*") {
    return `${origin}/`;
  }
  throw new BadRequest(400, "malformed request target");
}

function localAuthority({ localAddress, localPort }: RequestEnv): string {
  return localAddress.includes(":") ? `[${localAddress}]:${localPort}` : `${localAddress}:${localPort}`;
}

function requestHeaders(req: IncomingMessage | Http2ServerRequest): Headers {
  const headers = new Headers();
  const raw = req.rawHeaders;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string;
    if (!name.startsWith(":")) {
      headers.append(name, raw[i + 1] as string);
    }
  }
  if (isHttp2(req) && req.authority && !headers.has("host")) {
    headers.set("host", req.authority);
  }
  return headers;
}

function announcesBody(req: IncomingMessage | Http2ServerRequest): boolean {
  if (isHttp2(req)) {
    return !req.stream.endAfterHeaders;
  }
  const length = req.headers["content-length"];
  return req.headers["transfer-encoding"] !== undefined || (length !== undefined && length !== "0");
}

/** The body as a pull stream: the connection is read only as fast as the handler reads. */
function requestBody(req: IncomingMessage | Http2ServerRequest): ReadableStream<Uint8Array<ArrayBuffer>> {
  let failure: Error | undefined;
  const onFailure = (error?: Error) => {
    failure ??= error ?? new Error("the client went away before its body was whole");
  };
  req.once("error", onFailure);
  req.once("aborted", () => onFailure());
  return new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      async pull(controller) {
        for (;;) {
          if (failure !== undefined) {
            throw failure;
          }
          const chunk: Uint8Array<ArrayBuffer> | null = req.read();
          if (chunk !== null) {
            controller.enqueue(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
            return;
          }
          if (req.readableEnded) {
            controller.close();
            return;
          }
          if (req.destroyed) {
            throw new Error("the client went away before its body was whole");
          }
          await change(req);
        }
      },
      cancel() {
        req.resume();
      },
    },
    { highWaterMark: 0 },
  );
}

/** Resolves when reading again may give something else. The sendTimeout of the connection bounds the wait. */
function change(req: IncomingMessage | Http2ServerRequest): Promise<void> {
  return new Promise((resolve) => {
    const events = ["readable", "end", "error", "aborted", "close"];
    const done = () => {
      for (const event of events) {
        req.removeListener(event, done);
      }
      resolve();
    };
    for (const event of events) {
      req.on(event, done);
    }
  });
}
