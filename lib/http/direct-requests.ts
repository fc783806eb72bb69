/**
 * @module
 * A short way for the few requests that come a hundred times a second from each of many hosts: read, routed and answered
 * on the socket itself. The general way (a parser for all that HTTP allows, Request, router, Response) costs a multiple,
 * most of it in code and objects that such a request does not need. Nothing is served here that the general way would not
 * serve alike: it gets the connection, with the bytes of the request, as soon as one comes that is not for here.
 */
import type { Socket } from "node:net";
import type { Connections } from "./connections.ts";
import type { BodySource } from "./direct-body.ts";
import { requestEnvOf } from "./fetch-request.ts";
import { giveBack } from "./lent-chunk.ts";
import { type PlainRequest, readPlainRequest } from "./plain-request.ts";
import type { RequestEnv } from "./server.ts";

/** A request that may be answered here. */
export interface DirectRequest extends PlainRequest {
  readonly env: RequestEnv;
  /** Aborts when the connection closes. */
  readonly signal: AbortSignal;
}

/** The answer to one. */
export interface DirectAnswer {
  readonly status: 204 | 206 | 200;
  /** Lines of the head, each ended by CRLF, without the status line and those about length. */
  readonly head: string;
  /** Bytes of the body; without it the body is sent in chunks until its source ends. */
  readonly length?: number;
  /** None for 204. */
  readonly body?: BodySource;
}

/** What is answered the short way. */
export interface DirectRoute {
  /** Headers that its requests may have, in lower case, beside Host and Content-Length. */
  readonly headers: ReadonlySet<string>;
  /** @returns undefined, at once or later, for what the general way shall answer. The body's bytes are good until then. */
  answer(request: DirectRequest): Promise<DirectAnswer | undefined> | undefined;
}

/** What connections of a listener have in common. Durations are milliseconds. */
export interface DirectInit {
  readonly route: DirectRoute;
  readonly connections: Connections;
  readonly serveHttp1: (socket: Socket) => void;
  readonly idleTimeoutMs: number;
  readonly sendTimeoutMs: number;
  readonly onError: (error: unknown, target: string) => void;
}

const REASONS = { 200: "OK", 204: "No Content", 206: "Partial Content" } as const;
const LAST_CHUNK = "0\r\n\r\n";

/**
 * Takes a new connection, in clear, if its first request is one for here.
 * @param bytes The first that came; they are not put back.
 * @returns whether it was taken.
 */
export function serveDirectly(socket: Socket, bytes: Buffer, init: DirectInit): boolean {
  const request = readPlainRequest(bytes, init.route.headers);
  return request !== undefined && new DirectConnection(socket, init).begin(request, bytes);
}

class DirectConnection {
  readonly #socket: Socket;
  readonly #init: DirectInit;
  readonly #env: RequestEnv;
  readonly #gone = new AbortController();
  #busy = false;
  /** What came before the request in front of it was answered. */
  #early: Buffer | undefined;
  /** How long nothing has moved, ms. */
  #quietMs = 0;
  readonly #onData = (bytes: Buffer) => this.#read(bytes);
  readonly #onEnd = () => this.#socket.destroySoon();
  readonly #onClose = () => this.#gone.abort(new DOMException("the client went away", "AbortError"));
  readonly #onTimeout = () => this.#onQuiet();

  constructor(socket: Socket, init: DirectInit) {
    this.#socket = socket;
    this.#init = init;
    this.#env = requestEnvOf(socket, "");
  }

  begin(request: PlainRequest, bytes: Buffer): boolean {
    const answer = this.#route(request);
    if (!answer) return false;
    const socket = this.#socket;
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("close", this.#onClose);
    socket.setTimeout(this.#lookMs);
    socket.on("timeout", this.#onTimeout);
    void this.#serve(request, answer, bytes);
    return true;
  }

  get #lookMs(): number {
    return Math.min(this.#init.idleTimeoutMs, this.#init.sendTimeoutMs);
  }

  #read(bytes: Buffer): void {
    this.#quietMs = 0;
    if (this.#busy) {
      this.#early = this.#early ? Buffer.concat([this.#early, bytes]) : bytes;
      this.#socket.pause();
      return;
    }
    const request = readPlainRequest(bytes, this.#init.route.headers);
    const answer = request && this.#route(request);
    if (answer) void this.#serve(request, answer, bytes);
    else this.#giveOver(bytes);
  }

  #route(request: PlainRequest): Promise<DirectAnswer | undefined> | undefined {
    const env = { ...this.#env, target: request.target };
    return this.#init.route.answer({ ...request, env, signal: this.#gone.signal });
  }

  /** Never rejects. */
  async #serve(request: PlainRequest, coming: Promise<DirectAnswer | undefined>, bytes: Buffer): Promise<void> {
    this.#busy = true;
    let isOther = false;
    const free = this.#init.connections.occupy(this.#socket);
    try {
      const answer = await coming;
      if (answer) await this.#send(answer);
      else isOther = true;
    } catch (error) {
      if (!this.#gone.signal.aborted) {
        // The client must not take a part for the whole.
        this.#socket.resetAndDestroy();
        this.#init.onError(error, request.target);
      }
    } finally {
      this.#busy = false;
      free();
    }
    if (this.#socket.destroyed) return;
    const early = this.#early;
    this.#early = undefined;
    if (isOther) this.#giveOver(early ? Buffer.concat([bytes, early]) : bytes);
    else if (early) {
      this.#socket.resume();
      this.#read(early);
    }
  }

  async #send({ status, head, length, body }: DirectAnswer): Promise<void> {
    const socket = this.#socket;
    if (socket.destroyed) return body?.cancel();
    const start = `HTTP/1.1 ${status} ${REASONS[status]}\r\n${head}${this.#init.connections.closing ? "connection: close\r\n" : ""}`;
    if (!body) {
      socket.write(`${start}\r\n`, "latin1");
      return;
    }
    let ended = false;
    const cancel = () => {
      if (!ended) body.cancel();
      ended = true;
    };
    const pull = async () => {
      try {
        const chunk = await body.pull();
        ended ||= chunk === undefined;
        return chunk;
      } catch (error) {
        ended = true;
        throw error;
      }
    };
    socket.once("close", cancel);
    try {
      if (length === undefined) await this.#sendChunked(start, pull);
      else await this.#sendWhole(`${start}content-length: ${length}\r\n\r\n`, pull, length);
    } finally {
      socket.removeListener("close", cancel);
      cancel();
    }
  }

  async #sendWhole(head: string, pull: BodySource["pull"], length: number): Promise<void> {
    const socket = this.#socket;
    let sent = 0;
    for (let chunk = await pull(); chunk && !socket.destroyed; chunk = await pull()) {
      const lent = chunk;
      const isFirst = sent === 0;
      sent += lent.length;
      if (sent > length) throw new Error(`the body is longer than its ${length} bytes`);
      if (isFirst) {
        socket.cork();
        socket.write(head, "latin1");
      }
      const isTaken = socket.write(lent, (error) => (error ? undefined : giveBack(lent)));
      if (isFirst) socket.uncork();
      if (!isTaken) await this.#drained();
    }
    if (!socket.destroyed && sent !== length) throw new Error(`the body ended at ${sent} of ${length} bytes`);
  }

  async #sendChunked(head: string, pull: BodySource["pull"]): Promise<void> {
    const socket = this.#socket;
    socket.write(`${head}transfer-encoding: chunked\r\n\r\n`, "latin1");
    for (let chunk = await pull(); chunk && !socket.destroyed; chunk = await pull()) {
      const text = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).toString("latin1");
      if (!socket.write(`${text.length.toString(16)}\r\n${text}\r\n`, "latin1")) await this.#drained();
    }
    if (!socket.destroyed) socket.write(LAST_CHUNK, "latin1");
  }

  /** Resolves when the system has taken what was written, or the connection is gone. */
  #drained(): Promise<void> {
    const socket = this.#socket;
    return new Promise((resolve) => {
      const done = () => {
        socket.removeListener("drain", done);
        socket.removeListener("close", done);
        this.#quietMs = 0;
        resolve();
      };
      socket.on("drain", done);
      socket.on("close", done);
      if (socket.destroyed) done();
    });
  }

  /** The general way goes on with this connection, from these bytes on. */
  #giveOver(bytes: Buffer): void {
    const socket = this.#socket;
    socket.removeListener("data", this.#onData);
    socket.removeListener("end", this.#onEnd);
    socket.removeListener("close", this.#onClose);
    socket.removeListener("timeout", this.#onTimeout);
    socket.setTimeout(0);
    // In flowing mode what is put back would be told to nobody.
    socket.pause();
    socket.unshift(bytes);
    this.#init.serveHttp1(socket);
    socket.resume();
  }

  /** A client may be slow, or wait for what is long in coming; one that takes nothing of what is there pins memory. */
  #onQuiet(): void {
    const { idleTimeoutMs, sendTimeoutMs } = this.#init;
    this.#quietMs += this.#lookMs;
    const waits = this.#busy && this.#socket.writableLength === 0;
    if (waits) this.#quietMs = 0;
    else if (this.#quietMs >= (this.#busy ? sendTimeoutMs : idleTimeoutMs)) {
      if (this.#busy) this.#socket.resetAndDestroy();
      else this.#socket.destroy();
      return;
    }
    this.#socket.setTimeout(this.#lookMs);
  }
}
