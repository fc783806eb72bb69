/**
 * @module
 * The connections of one listener: what runs on them, when they have stalled, and how they end.
 */

import type { Server as HttpServer, IncomingMessage, ServerResponse } from "node:http";
import type { Http2Server, Http2ServerRequest, Http2ServerResponse, ServerHttp2Session } from "node:http2";
import type { Server as HttpsServer } from "node:https";
import type { Socket } from "node:net";
import { deferDestroy } from "./defer-destroy.ts";

/** A request and its response of either protocol. */
export interface Exchange {
  req: IncomingMessage | Http2ServerRequest;
  res: ServerResponse | Http2ServerResponse;
}

/** A connection that is answered without request and response objects. */
interface Occupation {
  readonly res?: undefined;
}

/** Most requests a client may send on one HTTP/1.1 connection without waiting for answers. */
const MAX_PIPELINED = 64;

/** Tracks sockets, HTTP/2 sessions and running exchanges, and bounds how long each may stand still. */
export class Connections {
  readonly headersTimeoutMs: number;
  readonly #h1: HttpServer | HttpsServer;
  readonly #sendTimeoutMs: number;
  readonly #sockets = new Map<Socket, Set<Exchange | Occupation>>();
  readonly #sessions = new Set<ServerHttp2Session>();
  /** Connections within their TLS handshake, by the client's address: the secured socket is another object. */
  readonly #handshakes = new Map<string, Socket>();
  readonly #takenOver = new WeakSet<Socket>();
  /** Of connections inside a CONNECT that this listener answers itself: the authority that was asked for. */
  readonly #authorities = new WeakMap<Socket, string>();
  #closing: Promise<void> | undefined;

  constructor({
    h1,
    h2,
    headersTimeoutMs,
    idleTimeoutMs,
    sendTimeoutMs,
  }: {
    h1: HttpServer | HttpsServer;
    h2: Http2Server;
    headersTimeoutMs: number;
    idleTimeoutMs: number;
    sendTimeoutMs: number;
  }) {
    this.headersTimeoutMs = headersTimeoutMs;
    this.#h1 = h1;
    this.#sendTimeoutMs = sendTimeoutMs;
    h1.on("timeout", (socket: Socket) => this.#onSocketTimeout(socket));
    h2.on("session", (session) => this.#addSession(session, idleTimeoutMs));
    // Protocol errors of one client end its session; they are no event for the process.
    h2.on("sessionError", () => {});
  }

  /** True from the moment `close` was called: answers should then end their connections. */
  get closing(): boolean {
    return this.#closing !== undefined;
  }

  /** Takes note of a connection whose TLS handshake begins. `add` follows when it has succeeded. */
  addHandshake(socket: Socket): void {
    const peer = peerOf(socket);
    this.#handshakes.set(peer, socket);
    socket.once("close", () => {
      if (this.#handshakes.get(peer) === socket) {
        this.#handshakes.delete(peer);
      }
    });
    if (this.closing) {
      socket.destroy();
    }
  }

  /** Takes note of a new connection until it closes. */
  add(socket: Socket): void {
    this.#handshakes.delete(peerOf(socket));
    this.#sockets.set(socket, new Set());
    socket.setMaxListeners(MAX_PIPELINED + 16);
    // Without a listener the error of a connection that nobody serves yet would end the process.
    socket.on("error", () => {});
    socket.once("close", () => this.#sockets.delete(socket));
    if (this.closing) {
      socket.destroy();
    }
  }

  /** Takes note of a connection inside a CONNECT to `authority`, over which TLS has been agreed. */
  addIntercepted(socket: Socket, authority: string): void {
    this.#authorities.set(socket, authority);
    this.add(socket);
  }

  /** What the client takes this end of an intercepted connection for; undefined for any other connection. */
  authorityOf(socket: Socket): string | undefined {
    return this.#authorities.get(socket);
  }

  /**
   * Takes note of a running exchange until its response closes.
   *
   * @returns false if the client has too many requests at once; its connection is closed then
   */
  begin(exchange: Exchange): boolean {
    const { req, res } = exchange;
    if (isHttp2(req)) {
      req.stream.setTimeout(this.#sendTimeoutMs, () => {
        if (isStalled(exchange)) {
          resetExchange(exchange);
        }
      });
      return true;
    }
    const socket = req.socket;
    const running = this.#sockets.get(socket);
    if (running === undefined) {
      return true;
    }
    if (running.size >= MAX_PIPELINED) {
      socket.destroy();
      return false;
    }
    if (this.closing && !res.headersSent) {
      res.setHeader("connection", "close");
    }
    const end = this.#note(socket, running, exchange);
    res.once("finish", end);
    res.once("close", end);
    return true;
  }

  /** Takes note that a connection is busy, for who answers on the socket itself. @returns What ends that; call it once. */
  occupy(socket: Socket): () => void {
    const running = this.#sockets.get(socket);
    return running === undefined ? () => {} : this.#note(socket, running, {});
  }

  #note(socket: Socket, running: Set<Exchange | Occupation>, what: Exchange | Occupation): () => void {
    running.add(what);
    return () => {
      if (running.delete(what) && this.closing && running.size === 0) {
        socket.destroySoon();
      }
    };
  }

  /** The exchange that a connection is busy with, if any. */
  isBusy(socket: Socket): boolean {
    return (this.#sockets.get(socket)?.size ?? 0) > 0;
  }

  /** See Listener.close. */
  close({ graceMs }: { graceMs: number }): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#h1.close(() => resolve());
      for (const session of this.#sessions) {
        session.close();
      }
    });
    for (const socket of this.#handshakes.values()) {
      socket.destroy();
    }
    for (const [socket, running] of this.#sockets) {
      for (const { res } of running) {
        if (res && !res.headersSent) {
          res.setHeader("connection", "close");
        }
      }
      if (running.size === 0 && !this.#takenOver.has(socket)) {
        socket.destroy();
      }
    }
    const timer = setTimeout(() => this.#destroyAll(), graceMs);
    return this.#closing.finally(() => clearTimeout(timer));
  }

  /** The socket now belongs to a tunnel or an HTTP/2 session: it is in use though no exchange is noted for it. */
  takeOver(socket: Socket): void {
    this.#takenOver.add(socket);
    socket.setTimeout(0);
    socket.removeAllListeners("timeout");
  }

  #destroyAll(): void {
    for (const session of this.#sessions) {
      session.destroy();
    }
    for (const socket of this.#sockets.keys()) {
      socket.destroy();
    }
  }

  #addSession(session: ServerHttp2Session, idleTimeoutMs: number): void {
    this.#sessions.add(session);
    deferDestroy(session);
    let streams = 0;
    session.on("stream", (stream) => {
      streams++;
      stream.once("close", () => streams--);
    });
    session.setTimeout(idleTimeoutMs, () => {
      if (streams === 0) {
        session.close();
        return;
      }
      session.setTimeout(idleTimeoutMs);
    });
    session.once("close", () => this.#sessions.delete(session));
  }

  #onSocketTimeout(socket: Socket): void {
    const running = this.#sockets.get(socket);
    if (running === undefined || running.size === 0) {
      socket.destroy();
      return;
    }
    const [exchange] = running;
    if (exchange?.res !== undefined && isStalled(exchange)) {
      resetExchange(exchange);
      return;
    }
    // The handler is thinking: look again, since nothing else would start the timer anew.
    socket.setTimeout(this.#sendTimeoutMs);
  }
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

/** True for the request objects of HTTP/2. */
export function isHttp2(req: IncomingMessage | Http2ServerRequest): req is Http2ServerRequest {
  return req.httpVersionMajor === 2;
}

/**
 * Ends an exchange so that the client sees a failure whatever it has received: RST on TCP (a close-delimited body would
 * otherwise look whole), RST_STREAM on HTTP/2.
 */
export function resetExchange({ req, res }: Exchange): void {
  if (isHttp2(req)) {
    req.stream.close(INTERNAL_ERROR);
    return;
  }
  const socket = req.socket;
  if ("encrypted" in socket || typeof socket.resetAndDestroy !== "function") {
    socket.destroy();
  } else {
    socket.resetAndDestroy();
  }
  res.destroy();
}

/** HTTP/2 error code INTERNAL_ERROR (RFC 9113, section 7). */
const INTERNAL_ERROR = 2;

/** True when the exchange waits for its client: bytes that it does not take, or a body that it does not send. */
function isStalled({ req, res }: Exchange): boolean {
  const pending = isHttp2(req) ? req.stream.writableLength : Math.max(res.writableLength, req.socket.writableLength);
  if (pending > 0) {
    return true;
  }
  const wanted = req.readableFlowing === true || req.listenerCount("readable") > 0;
  return wanted && !req.complete && req.readableLength === 0;
}
