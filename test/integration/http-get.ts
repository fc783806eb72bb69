/**
 * Requests as engines make them: on a connection of their own, nothing hidden.
 * @module
 */
import { type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";

/** An answer. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** What came of the body. */
  readonly body: Buffer;
  /** Whether the body came to a clean end. */
  readonly whole: boolean;
}

export interface GetInit {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  /** The request target as sent, for a proxy. @default path and query of the URL */
  readonly target?: string;
  /** Called with the bytes so far, after each chunk; may wait. */
  onData?(received: number, message: IncomingMessage): unknown;
  readonly signal?: AbortSignal;
}

/** Never rejects for what the server does: `whole` says whether the body was; status 0 is a connection cut before the head. */
export function get(
  url: string,
  { method = "GET", headers = {}, target, onData, signal }: GetInit = {},
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const { hostname, port, pathname, search } = new URL(url);
  const req = request({
    host: hostname,
    port,
    method,
    headers,
    path: target ?? pathname + search,
    agent: false,
    ...(signal ? { signal } : {}),
  });
  req.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "ECONNRESET") reject(error);
    else resolve({ status: 0, headers: {}, body: Buffer.alloc(0), whole: false });
  });
  req.on("response", async (message) => {
    const parts: Buffer[] = [];
    let received = 0;
    let whole = false;
    try {
      for await (const part of message) {
        parts.push(part as Buffer);
        received += (part as Buffer).length;
        await onData?.(received, message);
      }
      const length = message.headers["content-length"];
      whole = message.complete && (method === "HEAD" || length === undefined || Number(length) === received);
    } catch {
      whole = false;
    }
    resolve({ status: message.statusCode ?? 0, headers: message.headers, body: Buffer.concat(parts), whole });
  });
  req.end();
  return promise;
}
