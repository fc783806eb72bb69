/**
 * One keep-alive connection to a peer: a raw socket whose reads go through one shared buffer into the piece they
 * belong to. In a swarm this costs about half of what a general HTTP client does (docs/design.md, "Data path").
 * @module
 */
import { connect, isIP, type Socket } from "node:net";
import { connect as connectSecurely } from "node:tls";
import { HeadParser, type ResponseHead, ResponseParseError } from "./response-parser.ts";
import { SilenceWatch, type Waiting } from "./silence-watch.ts";

const READ_BUFFER = 256 * 1024;
/** Bodies of answers that nobody wants (errors) are read up to this many bytes to keep the connection. */
const MAX_DISCARD = 64 * 1024;

export type PeerErrorCode = "connect" | "closed" | "timeout" | "protocol" | "aborted" | "refused";

/** A request to a peer failed. */
export class PeerError extends Error {
  override readonly name = "PeerError";
  readonly code: PeerErrorCode;

  constructor(code: PeerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A request on a connection. */
export interface PeerRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Where the body goes, decided from the head; undefined discards it. Its length must be the body's. */
  accept(head: ResponseHead): Uint8Array | undefined;
  /** Called as the body grows, with the bytes of it that are in their place. */
  onBytes?(received: number): void;
  /** Milliseconds to the head of the answer after which the request fails. @default idleMs */
  readonly headMs?: number;
  /** Milliseconds without a byte of the body after which the request fails. */
  readonly idleMs: number;
  readonly signal?: AbortSignal;
}

interface Exchange extends Waiting {
  readonly request: PeerRequest;
  readonly parser: HeadParser;
  head: ResponseHead | undefined;
  target: Uint8Array | undefined;
  received: number;
  resolve(head: ResponseHead): void;
  reject(error: Error): void;
}

/** Where a peer listens. */
export interface PeerEndpoint {
  readonly host: string;
  readonly port: number;
  /** TLS. @default false */
  readonly secure?: boolean;
}

/** What TLS is made of, PEM texts; see `ClusterTls`. */
export interface PeerTls {
  readonly ca?: string;
  readonly own?: { readonly cert: string; readonly key: string };
}

/** What connections need. */
interface ConnectionInit {
  /** Shared by all of a host. */
  readonly buffer: Uint8Array;
  readonly tls: PeerTls;
  readonly watch: SilenceWatch;
  readonly onTimeout: (bound: "dial" | "header" | "idle") => void;
}

/** Opens connections that share a read buffer; one instance a host. */
export class Connector {
  readonly #connectTimeoutMs: number;
  readonly #init: ConnectionInit;
  #distanceMs: number | undefined;

  /** @param init.onTimeout A connection, the head of an answer or the next byte of it did not come in time. */
  constructor({
    connectTimeoutMs = 5000,
    tls = {},
    onTimeout = () => {},
  }: { connectTimeoutMs?: number; tls?: PeerTls; onTimeout?: ConnectionInit["onTimeout"] } = {}) {
    this.#connectTimeoutMs = connectTimeoutMs;
    this.#init = { buffer: new Uint8Array(READ_BUFFER), tls, watch: new SilenceWatch(), onTimeout };
  }

  /** Least ms that a connection took to be made: how far the nearest of all peers is. undefined before the first. */
  get distanceMs(): number | undefined {
    return this.#distanceMs;
  }

  /** @throws PeerError connect */
  async open(endpoint: PeerEndpoint): Promise<Connection> {
    const startedAt = performance.now();
    const connection = await Connection.open(endpoint, { ...this.#init, timeoutMs: this.#connectTimeoutMs });
    this.#distanceMs = Math.min(performance.now() - startedAt, this.#distanceMs ?? Number.POSITIVE_INFINITY);
    return connection;
  }
}

/** See the module. One request at a time. */
export class Connection {
  readonly #socket: Socket;
  readonly #authority: string;
  readonly #watch: SilenceWatch;
  readonly #onTimeout: ConnectionInit["onTimeout"];
  #exchange: Exchange | undefined;
  #closed: PeerError | undefined;

  private constructor(endpoint: PeerEndpoint, { buffer, tls, watch, onTimeout }: ConnectionInit) {
    this.#watch = watch;
    this.#onTimeout = onTimeout;
    this.#authority = endpoint.host.includes(":")
      ? `[${endpoint.host}]:${endpoint.port}`
      : `${endpoint.host}:${endpoint.port}`;
    this.#socket = endpoint.secure ? this.#connectSecurely(endpoint, tls) : this.#connect(endpoint, buffer);
  }

  #connect({ host, port }: PeerEndpoint, buffer: Uint8Array): Socket {
    return connect({
      host,
      port,
      noDelay: true,
      onread: {
        buffer,
        callback: (length: number, bytes: Uint8Array) => {
          this.#onBytes(bytes.subarray(0, length));
          return true;
        },
      },
    });
  }

  /** TLS decrypts into buffers of its own. */
  #connectSecurely({ host, port }: PeerEndpoint, { ca, own }: PeerTls): Socket {
    const socket = connectSecurely({
      host,
      port,
      ALPNProtocols: ["http/1.1"],
      ...(ca === undefined ? {} : { ca }),
      ...own,
      ...(isIP(host) ? {} : { servername: host }),
    });
    socket.setNoDelay(true);
    socket.on("data", (bytes: Buffer) => this.#onBytes(bytes));
    return socket;
  }

  static async open(
    endpoint: PeerEndpoint,
    { timeoutMs, ...init }: ConnectionInit & { timeoutMs: number },
  ): Promise<Connection> {
    const connection = new Connection(endpoint, init);
    const socket = connection.#socket;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      init.onTimeout("dial");
      reject(new PeerError("connect", `${connection.#authority} did not accept in ${timeoutMs} ms`));
    }, timeoutMs);
    socket.once(endpoint.secure ? "secureConnect" : "connect", () => resolve());
    socket.on("error", (cause) => {
      reject(new PeerError("connect", `${connection.#authority}: ${cause.message}`, { cause }));
      connection.#end(new PeerError("closed", `${connection.#authority}: ${cause.message}`, { cause }));
    });
    socket.on("close", () =>
      connection.#end(new PeerError("closed", `${connection.#authority} closed the connection`)),
    );
    socket.on("end", () => connection.#end(new PeerError("closed", `${connection.#authority} ended the connection`)));
    try {
      await promise;
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    return connection;
  }

  /** Whether it can take a request. */
  get usable(): boolean {
    return !this.#closed && !this.#exchange;
  }

  /** This end's address, as the peer sees it where nobody translates addresses. */
  get localAddress(): string | undefined {
    return this.#socket.localAddress;
  }

  /**
   * Sends a request; resolves with the head when the whole body is in its place.
   * @throws PeerError. After any error the connection is closed.
   */
  async request(request: PeerRequest): Promise<ResponseHead> {
    if (this.#closed) throw this.#closed;
    if (this.#exchange) throw new PeerError("protocol", "a request is under way on this connection");
    request.signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<ResponseHead>();
    const { headMs = request.idleMs, idleMs } = request;
    const exchange: Exchange = {
      request,
      parser: new HeadParser(),
      head: undefined,
      target: undefined,
      received: 0,
      patienceMs: headMs,
      heard: false,
      since: 0,
      onSilence: () => this.#onSilence(),
      resolve,
      reject,
    };
    this.#exchange = exchange;
    const onAbort = () => this.#end(new PeerError("aborted", "the request was given up"));
    request.signal?.addEventListener("abort", onAbort, { once: true });
    this.#watch.add(exchange, Math.min(headMs, idleMs));
    this.#send(request);
    try {
      return await promise;
    } finally {
      request.signal?.removeEventListener("abort", onAbort);
    }
  }

  close(): void {
    this.#end(new PeerError("closed", "the connection was closed"));
  }

  #send(request: PeerRequest): void {
    let head = `${request.method} ${request.path} HTTP/1.1\r\nHost: ${this.#authority}\r\n`;
    for (const [name, value] of Object.entries(request.headers ?? {})) head += `${name}: ${value}\r\n`;
    if (request.body) head += `Content-Length: ${request.body.length}\r\n`;
    this.#socket.cork();
    this.#socket.write(`${head}\r\n`);
    if (request.body) this.#socket.write(request.body);
    this.#socket.uncork();
  }

  #onBytes(bytes: Uint8Array): void {
    try {
      let rest = bytes;
      while (rest.length > 0) {
        const exchange = this.#exchange;
        if (!exchange) throw new ResponseParseError(`${this.#authority} sent bytes nobody asked for`);
        rest = exchange.head ? this.#onBody(exchange, exchange.head, rest) : this.#onHead(exchange, rest);
      }
    } catch (cause) {
      this.#end(new PeerError("protocol", cause instanceof Error ? cause.message : String(cause), { cause }));
    }
  }

  #onHead(exchange: Exchange, bytes: Uint8Array): Uint8Array {
    const result = exchange.parser.push(bytes);
    if (!result) return bytes.subarray(bytes.length);
    const { head, consumed } = result;
    exchange.head = head;
    exchange.patienceMs = exchange.request.idleMs;
    exchange.heard = true;
    exchange.target = exchange.request.accept(head);
    if (exchange.target && exchange.target.length !== head.length) {
      throw new ResponseParseError(
        `${this.#authority} sends ${head.length} bytes where ${exchange.target.length} were asked for`,
      );
    }
    if (!exchange.target && head.length > MAX_DISCARD) {
      throw new ResponseParseError(`${this.#authority} answered ${head.status} with ${head.length} bytes`);
    }
    if (head.length === 0) this.#complete(exchange, head);
    return bytes.subarray(consumed);
  }

  #onBody(exchange: Exchange, head: ResponseHead, bytes: Uint8Array): Uint8Array {
    const length = Math.min(bytes.length, head.length - exchange.received);
    exchange.target?.set(length === bytes.length ? bytes : bytes.subarray(0, length), exchange.received);
    exchange.received += length;
    exchange.heard = true;
    if (exchange.target) exchange.request.onBytes?.(exchange.received);
    if (exchange.received === head.length) this.#complete(exchange, head);
    return bytes.subarray(length);
  }

  #onSilence(): void {
    if (this.#exchange) this.#onTimeout(this.#exchange.head ? "idle" : "header");
    this.#end(new PeerError("timeout", `${this.#authority} sent nothing for too long`));
  }

  #complete(exchange: Exchange, head: ResponseHead): void {
    this.#exchange = undefined;
    this.#watch.delete(exchange);
    exchange.resolve(head);
    if (!head.keepAlive) this.#end(new PeerError("closed", `${this.#authority} closes after each answer`));
  }

  #end(error: PeerError): void {
    if (this.#closed) return;
    this.#closed = error;
    this.#socket.destroy();
    const exchange = this.#exchange;
    if (!exchange) return;
    this.#exchange = undefined;
    this.#watch.delete(exchange);
    exchange.reject(error);
  }
}
