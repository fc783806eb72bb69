/**
 * @module
 * What happens to each request: the Node handler, the fetch handler, the tunnel, or a refusal.
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type Connections, type Exchange, isHttp2, resetExchange } from "./connections.ts";
import { BadRequest, requestEnv, toRequest } from "./fetch-request.ts";
import { sendResponse } from "./fetch-response.ts";
import { answerAs } from "./intercept.ts";
import type { ServeOptions } from "./server.ts";
import { authorityText, parseAuthority } from "./tunnel.ts";

/** Listeners for the servers' events. None of them throws. */
export interface Dispatcher {
  request(req: IncomingMessage | Http2ServerRequest, res: ServerResponse | Http2ServerResponse): void;
  connect(req: IncomingMessage, socket: Duplex, head: Buffer): void;
  clientError(error: Error, socket: Duplex): void;
}

/** Makes the listeners for one server. */
export function createDispatcher({
  fetch,
  node,
  tunnel,
  intercept,
  log,
  maxHeaderBytes,
  connections,
  serveHttp1,
}: ServeOptions & {
  maxHeaderBytes: number;
  connections: Connections;
  serveHttp1: (socket: Socket) => void;
}): Dispatcher {
  const viaFetch = async (exchange: Exchange) => {
    const { req } = exchange;
    const abort = new AbortController();
    onClientGone(exchange, () => abort.abort(new DOMException("the client went away", "AbortError")));
    const env = requestEnv(req, connections.authorityOf(req.socket as Socket));
    let request: Request;
    try {
      request = toRequest(req, env, abort.signal);
    } catch (error) {
      const status = error instanceof BadRequest ? error.status : 400;
      await refuse(exchange, status, abort.signal);
      return;
    }
    let response: Response;
    try {
      response = await fetch(request, env);
    } catch (error) {
      if (!abort.signal.aborted) {
        log?.error("request handler failed", { method: req.method, target: env.target, error });
      }
      response = plain(500);
    }
    await sendResponse(exchange, response, {
      signal: abort.signal,
      onError: (error) => log?.warn("response body failed", { method: req.method, target: env.target, error }),
    });
  };

  const refused = new WeakSet<Duplex>();

  return {
    request(req, res) {
      const exchange = { req, res };
      // Errors of one client's streams end its exchange; without listeners they would end the process.
      req.on("error", () => {});
      res.on("error", () => {});
      if (!connections.begin(exchange)) {
        return;
      }
      if (isHttp2(req) && headBytes(req) > maxHeaderBytes) {
        refuse(exchange, 431, new AbortController().signal);
        return;
      }
      const next = () => void viaFetch(exchange);
      if (node === undefined) {
        next();
        return;
      }
      try {
        node(req, res, next);
      } catch (error) {
        log?.error("request handler failed", { method: req.method, target: req.url, error });
        if (res.headersSent) {
          resetExchange(exchange);
        } else {
          refuse(exchange, 500, new AbortController().signal);
        }
      }
    },

    connect(req, socket, head) {
      connections.takeOver(socket as Socket);
      socket.on("error", () => {});
      const env = requestEnv(req);
      try {
        const target = intercept && parseAuthority(req.url ?? "");
        const context = target && intercept(target, env);
        if (context) {
          const authority = authorityText(target);
          connections.addHandshake(socket as Socket);
          answerAs(socket, head, {
            context,
            timeoutMs: connections.headersTimeoutMs,
            onSecure: (secured) => {
              connections.addIntercepted(secured, authority);
              serveHttp1(secured);
            },
            onFailure: (error) =>
              log?.warn("a client broke off TLS: does it trust the certificate authority?", { authority, error }),
          });
          return;
        }
        if (tunnel === undefined) {
          endRaw(socket, 405);
          return;
        }
        tunnel(req, socket, head, env);
      } catch (error) {
        log?.error("tunnel handler failed", { target: req.url, error });
        socket.destroy();
      }
    },

    clientError(error, socket) {
      const code = "code" in error ? error.code : undefined;
      if (refused.has(socket)) {
        return;
      }
      refused.add(socket);
      if (code === "ECONNRESET" || !socket.writable || connections.isBusy(socket as Socket)) {
        socket.destroy();
        return;
      }
      endRaw(socket, code === "HPE_HEADER_OVERFLOW" ? 431 : code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400);
    },
  };
}

/** Calls `gone` when the client leaves, or the exchange is reset, before its response is whole. */
function onClientGone({ req, res }: Exchange, gone: () => void): void {
  if (isHttp2(req)) {
    const { stream } = req;
    // A cancelled stream counts as finished for writing, so its "close" alone does not tell.
    stream.once("aborted", gone);
    stream.once("close", () => {
      if (stream.rstCode !== 0 || !stream.writableFinished) {
        gone();
      }
    });
    return;
  }
  const { socket } = req;
  const onClose = () => {
    if (!res.writableFinished) {
      gone();
    }
  };
  // A response that waits behind another one on its connection hears nothing; the socket does.
  res.once("close", onClose);
  socket.once("close", onClose);
  res.once("finish", () => socket.removeListener("close", onClose));
}

type RefusalStatus = 400 | 405 | 408 | 431 | 500;

const REASONS: Record<RefusalStatus, string> = {
  400: "Bad Request",
  405: "Method Not Allowed",
  408: "Request Timeout",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
};

function plain(status: RefusalStatus): Response {
  return new Response(`${REASONS[status]}\n`, { status, headers: { "content-type": "text/plain; charset=utf-8" } });
}

function refuse(exchange: Exchange, status: RefusalStatus, signal: AbortSignal): Promise<void> {
  return sendResponse(exchange, plain(status), { signal, onError: () => {} });
}

/** Longest time a refused connection is read from after its answer, so that the answer is not lost to a TCP reset. */
const LINGER_MS = 1_000;

/** Answers on a connection that has no response object, and closes it. */
function endRaw(socket: Duplex, status: RefusalStatus): void {
  const body = `${REASONS[status]}\n`;
  socket.end(
    `HTTP/1.1 ${status} ${REASONS[status]}\r\ncontent-type: text/plain; charset=utf-8\r\n` +
      `content-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
  );
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("end", () => socket.destroy());
  socket.once("close", () => clearTimeout(timer));
  socket.resume();
}

/** Size of a header list as HTTP/2 counts it (RFC 9113, 6.5.2). */
function headBytes(req: Http2ServerRequest): number {
  let bytes = 0;
  for (const part of req.rawHeaders) {
    bytes += part.length + 16;
  }
  return bytes;
}
