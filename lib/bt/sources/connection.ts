/**
 * One keep-alive connection to a peer: a raw socket whose reads go through one shared buffer into the piece they
 * belong to. In a swarm this costs about half of what a general HTTP client does (docs/design.md, "Data path").
 * @module
 */
import { connect, isIP, type Socket } from "node:net";
import { connect as connectSecurely } from "node:tls";
import { Exchange, type OpenBody, type PeerRequest, PlacedBody, StreamedBody, type StreamRequest } from "./exchange.ts";
import { PeerError } from "./peer-error.ts";
import { HeadParser, type ResponseHead, ResponseParseError } from "./response-parser.ts";
import { SilenceWatch } from "./silence-watch.ts";

export type { PeerRequest, StreamRequest } from "./exchange.ts";
export { PeerError, type PeerErrorCode } from "./peer-error.ts";

const READ_BUFFER = 256 * 1024;

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
  readonly buffer: Buffer;
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
    this.#init = { buffer: Buffer.allocUnsafeSlow(READ_BUFFER), tls, watch: new SilenceWatch(), onTimeout };
  }

  /** Least ms that a connection took to be made: how far the nearest of all peers is. undefined before the first. */
  get distanceMs(): number | undefined {
    return this.#distanceMs;
  }

  /**
   * @param options.withinMs Shortens the time that a connection may take, ms.
   * @throws PeerError connect, aborted
   */
  async open(
    endpoint: PeerEndpoint,
    { withinMs = this.#connectTimeoutMs, signal }: { withinMs?: number; signal?: AbortSignal } = {},
  ): Promise<Connection> {
    const startedAt = performance.now();
    const timeoutMs = Math.min(Math.ceil(withinMs), this.#connectTimeoutMs);
    const connection = await Connection.open(endpoint, { ...this.#init, timeoutMs, signal });
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
  /** Kept from one request to the next. */
  readonly #parser = new HeadParser();
  readonly #onAbort = () => this.#end(new PeerError("aborted", "the request was given up"));
  readonly #onSilence = () => {
    if (this.#exchange) this.#onTimeout(this.#exchange.head ? "idle" : "header");
    this.#end(new PeerError("timeout", `${this.#authority} sent nothing for too long`));
  };
  #exchange: Exchange | undefined;
  #answered = false;
  #closed: PeerError | undefined;

  private constructor(endpoint: PeerEndpoint, { buffer, tls, watch, onTimeout }: ConnectionInit) {
    this.#watch = watch;
    this.#onTimeout = onTimeout;
    this.#authority = endpoint.host.includes(":")
      ? `[${endpoint.host}]:${endpoint.port}`
      : `${endpoint.host}:${endpoint.port}`;
    this.#socket = endpoint.secure ? this.#connectSecurely(endpoint, tls) : this.#connect(endpoint, buffer);
  }

  #connect({ host, port }: PeerEndpoint, buffer: Buffer): Socket {
    return connect({
      host,
      port,
      noDelay: true,
      onread: {
        buffer,
        callback: (length: number) => {
          this.#onBytes(buffer, length);
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
    socket.on("data", (bytes: Buffer) => this.#onBytes(bytes, bytes.length));
    return socket;
  }

  static async open(
    endpoint: PeerEndpoint,
    { timeoutMs, signal, ...init }: ConnectionInit & { timeoutMs: number; signal: AbortSignal | undefined },
  ): Promise<Connection> {
    const connection = new Connection(endpoint, init);
    const socket = connection.#socket;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      init.onTimeout("dial");
      reject(new PeerError("connect", `${connection.#authority} did not accept in ${timeoutMs} ms`));
    }, timeoutMs);
    const onAbort = () => reject(new PeerError("aborted", `${connection.#authority} is not wanted any more`));
    if (signal?.aborted) onAbort();
    signal?.addEventListener("abort", onAbort);
    socket.once(endpoint.secure ? "secureConnect" : "connect", () => resolve());
    socket.on("error", (cause) => {
      reject(new PeerError("connect", `${connection.#authority}: ${cause.message}`, { cause }));
      connection.#end(new PeerError("closed", `${connection.#authority}: ${cause.message}`, { cause }));
    });
    socket.on("close", () =>
      connection.#end(new PeerError("closed", `${connection.#authority} closed the connection`)),
    );
    socket.on("end", () => connection.#onEnd());
    try {
      await promise;
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
    return connection;
  }

  /** Whether it can take a request. */
  get usable(): boolean {
    return !this.#closed && !this.#exchange;
  }

  /** Whether the last request that ended got the head of an answer. */
  get answered(): boolean {
    return this.#answered;
  }

  /**
   * Sends a request; resolves with the head when the whole body is in its place.
   * @throws PeerError. After any error the connection is closed.
   */
  request(request: PeerRequest): Promise<ResponseHead> {
    const { headMs = request.idleMs } = request;
    return this.#run(request, { headMs, parser: this.#parser, open: (head) => new PlacedBody(request, head) });
  }

  /**
   * Sends a request whose answer is read as it comes; resolves with the head when the whole body has come.
   * @param options.headMs Instead of the request's.
   * @throws PeerError. After any error the connection is closed.
   */
  stream(
    request: StreamRequest,
    { headMs = request.headMs ?? request.idleMs }: { headMs?: number } = {},
  ): Promise<ResponseHead> {
    const parser = new HeadParser({ isStream: true });
    return this.#run(request, { headMs, parser, open: (head) => new StreamedBody(request, head) });
  }

  close(): void {
    this.#end(new PeerError("closed", "the connection was closed"));
  }

  async #run(
    request: PeerRequest | StreamRequest,
    init: { headMs: number; parser: HeadParser; open: OpenBody },
  ): Promise<ResponseHead> {
    if (this.#closed) throw this.#closed;
    if (this.#exchange) throw new PeerError("protocol", "a request is under way on this connection");
    const { signal, idleMs } = request;
    this.#answered = false;
    signal?.throwIfAborted();
    const exchange = new Exchange({ ...init, idleMs, onSilence: this.#onSilence });
    this.#exchange = exchange;
    signal?.addEventListener("abort", this.#onAbort);
    this.#watch.add(exchange);
    this.#send(request);
    try {
      return await exchange.promise;
    } finally {
      signal?.removeEventListener("abort", this.#onAbort);
    }
  }

  /** In one write: each is a call to the system. */
  #send({ method, path, headers, body }: PeerRequest | StreamRequest): void {
    let text = `${method} ${path} HTTP/1.1\r\nHost: ${this.#authority}\r\n`;
    for (const name in headers) text += `${name}: ${headers[name]}\r\n`;
    if (body) text += `Content-Length: ${body.length}\r\n`;
    text += "\r\n";
    if (body) text += Buffer.from(body.buffer, body.byteOffset, body.length).toString("latin1");
    this.#socket.write(text, "latin1");
  }

  #onBytes(bytes: Buffer, length: number): void {
    try {
      for (let at = 0; at < length && !this.#closed; ) {
        const exchange = this.#exchange;
        if (!exchange) throw new ResponseParseError(`${this.#authority} sent bytes nobody asked for`);
        at = exchange.take(bytes, at, length);
        if (exchange.complete) this.#complete(exchange);
      }
    } catch (cause) {
      this.#end(new PeerError("protocol", cause instanceof Error ? cause.message : String(cause), { cause }));
    }
  }

  #onEnd(): void {
    const exchange = this.#exchange;
    if (exchange?.head?.framing === "close") this.#complete(exchange);
    this.#end(new PeerError("closed", `${this.#authority} ended the connection`));
  }

  #complete(exchange: Exchange): void {
    // Whoever was told of its last bytes may have given it up.
    if (this.#exchange !== exchange || !exchange.head) return;
    this.#exchange = undefined;
    this.#answered = true;
    this.#watch.delete(exchange);
    exchange.resolve(exchange.head);
    if (!exchange.head.keepAlive) {
      this.#end(new PeerError("closed", `${this.#authority} closes after each answer`));
    }
  }

  #end(error: PeerError): void {
    if (this.#closed) return;
    this.#closed = error;
    this.#socket.destroy();
    const exchange = this.#exchange;
    if (!exchange) return;
    this.#exchange = undefined;
    this.#answered = exchange.head !== undefined;
    this.#watch.delete(exchange);
    exchange.reject(error);
  }
}
