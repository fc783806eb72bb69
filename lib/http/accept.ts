/**
 * @module
 * Decides which protocol a new connection speaks.
 *
 * The HTTP/1.1 server does the listening, so that its own limits (header timeout, keep-alive) hold. Its connection
 * listeners are taken off and called for the connections that turn out to be HTTP/1.1; the others are given to the HTTP/2
 * server. The same code serves Node 24 and Deno 2.9.
 */

import type { Server as HttpServer } from "node:http";
import type { Http2Server } from "node:http2";
import type { Server as HttpsServer } from "node:https";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Connections } from "./connections.ts";
import { type DirectRoute, serveDirectly } from "./direct-requests.ts";

/** First bytes of the HTTP/2 connection preface (RFC 9113, 3.4). No HTTP/1.1 method begins so. */
const PREFACE = Buffer.from("PRI");

/** What is served the short way, and how. Durations are milliseconds. */
export interface DirectOptions {
  readonly route: DirectRoute;
  readonly idleTimeoutMs: number;
  readonly sendTimeoutMs: number;
  readonly onError: (error: unknown, target: string) => void;
}

/**
 * Makes `h1` hand its HTTP/2 connections to `h2`: by ALPN over TLS, by the connection preface in clear; and those that
 * begin with a request of `direct`, in clear, to the short way.
 * @returns serveHttp1 Serves HTTP/1.1 on a connection that came in another way.
 */
export function splitProtocols(
  h1: HttpServer | HttpsServer,
  h2: Http2Server,
  connections: Connections,
  direct?: DirectOptions,
): { serveHttp1: (socket: Socket) => void } {
  const secure = "setSecureContext" in h1;
  const event = secure ? "secureConnection" : "connection";
  const listeners = h1.listeners(event) as ((this: unknown, socket: Socket) => void)[];
  h1.removeAllListeners(event);
  const serveHttp1 = (socket: Socket) => {
    for (const listener of listeners) {
      listener.call(h1, socket);
    }
  };
  const serveHttp2 = (socket: Socket) => {
    connections.takeOver(socket);
    h2.emit("connection", socket);
  };

  if (secure) {
    h1.on("connection", (socket: Socket) => connections.addHandshake(socket));
  }
  h1.on(event, (socket: Socket) => {
    connections.add(socket);
    if (secure) {
      ((socket as TLSSocket).alpnProtocol === "h2" ? serveHttp2 : serveHttp1)(socket);
    } else {
      peek(socket, {
        timeoutMs: connections.headersTimeoutMs,
        serve: (head) => {
          if (head.subarray(0, PREFACE.length).equals(PREFACE)) {
            socket.unshift(head);
            serveHttp2(socket);
          } else if (!direct || !serveDirectly(socket, head, { ...direct, connections, serveHttp1 })) {
            socket.unshift(head);
            serveHttp1(socket);
          }
        },
      });
    }
  });
  return { serveHttp1 };
}

/** Waits for enough bytes to tell the protocols apart, and hands them over. */
function peek(socket: Socket, { timeoutMs, serve }: { timeoutMs: number; serve: (head: Buffer) => void }): void {
  let head: Buffer = Buffer.alloc(0);
  const abandon = () => socket.destroy();
  const timer = setTimeout(abandon, timeoutMs);
  const release = () => {
    clearTimeout(timer);
    socket.removeListener("readable", onReadable);
    socket.removeListener("end", abandon);
    socket.removeListener("close", release);
  };
  const onReadable = () => {
    const chunk: Buffer | null = socket.read();
    if (chunk === null) {
      return;
    }
    head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
    const known = head.subarray(0, PREFACE.length);
    if (known.length < PREFACE.length && PREFACE.subarray(0, known.length).equals(known)) {
      return;
    }
    release();
    socket.removeListener("error", abandon);
    serve(head);
  };
  socket.on("readable", onReadable);
  socket.on("end", abandon);
  socket.on("error", abandon);
  socket.on("close", release);
}
