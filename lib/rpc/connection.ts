/**
 * @module
 * The one HTTP/2 connection to a seeder (h2c, or TLS for https), opened when needed and replaced when it has become doubtful.
 *
 * Connect's own Http2SessionManager is not used: a TLS handshake that never ends holds its callers, a doubtful connection cannot be
 * replaced without killing the streams that still move, and it can reject where nobody listens.
 */
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type OutgoingHttpHeaders } from "node:http2";
import { deferDestroy } from "../http/defer-destroy.ts";

/** Options of {@link SeederConnection}. */
export interface SeederConnectionOptions {
  /** PEM text of the authorities believed for https, in place of the system's. */
  ca?: string;
  /** PEM texts of the certificate to show when the seeder asks for one, and of its key. */
  certificate?: { readonly cert: string; readonly key: string };
  /** A connection without streams is closed after this time. @default 60000 */
  idleTimeoutMs?: number;
}

interface Session {
  readonly h2: ClientHttp2Session;
  readonly closed: Promise<void>;
  streams: number;
  idle: ReturnType<typeof setTimeout> | undefined;
}

/** A session manager for Connect's transport. */
export class SeederConnection {
  /** Scheme, host and port. */
  readonly authority: string;
  readonly #tls: { ca?: string; cert?: string; key?: string };
  readonly #idleTimeoutMs: number;
  readonly #sessions = new Set<Session>();
  #current: Session | undefined;
  #closed = false;

  constructor(url: URL, { ca, certificate, idleTimeoutMs = 60_000 }: SeederConnectionOptions = {}) {
    this.authority = url.origin;
    this.#tls = { ...(ca === undefined ? {} : { ca }), ...certificate };
    this.#idleTimeoutMs = idleTimeoutMs;
  }

  /** True if the next request would use a connection that is already there (and may have died unnoticed). */
  get connected(): boolean {
    return this.#current !== undefined && !this.#current.h2.connecting;
  }

  /** Opens a stream. Rejects only if the connection is closed for good; a failing connection shows in the stream's "error". */
  async request(method: string, path: string, headers: OutgoingHttpHeaders): Promise<ClientHttp2Stream> {
    if (this.#closed) throw new Error(`connection to ${this.authority} is closed`);
    let session = this.#current;
    if (session === undefined || session.h2.closed || session.h2.destroyed) {
      session = this.#open();
      this.#current = session;
    }
    const stream = session.h2.request({ ...headers, ":method": method, ":path": path });
    this.#count(session, stream);
    return stream;
  }

  /** Connect tells of every read; deadlines are watched by the calls themselves. */
  notifyResponseByteRead(): void {}

  /** The next request gets a new connection. Streams of the old one may finish. */
  renew(): void {
    const session = this.#current;
    if (session !== undefined) this.#retire(session);
  }

  /** Ends all connections and their streams. Resolves when they are gone. */
  async close(): Promise<void> {
    this.#closed = true;
    const sessions = [...this.#sessions];
    for (const { h2 } of sessions) h2.destroy();
    await Promise.all(sessions.map(({ closed }) => closed));
  }

  #open(): Session {
    const h2 = connect(this.authority, this.#tls);
    deferDestroy(h2);
    let gone: () => void = () => {};
    const closed = new Promise<void>((resolve) => {
      gone = resolve;
    });
    const session: Session = { h2, closed, streams: 0, idle: undefined };
    this.#sessions.add(session);
    // Each stream gets the error too; without a listener it would end the process.
    h2.on("error", () => {});
    h2.on("goaway", () => this.#retire(session));
    h2.once("close", () => {
      clearTimeout(session.idle);
      this.#sessions.delete(session);
      if (this.#current === session) this.#current = undefined;
      gone();
    });
    return session;
  }

  #retire(session: Session): void {
    if (this.#current === session) this.#current = undefined;
    // Nothing can be moving on a connection that has not come about.
    if (session.streams === 0 || session.h2.connecting) session.h2.destroy();
  }

  #count(session: Session, stream: ClientHttp2Stream): void {
    session.streams += 1;
    clearTimeout(session.idle);
    let responded = false;
    stream.once("response", () => {
      responded = true;
    });
    stream.once("close", () => {
      session.streams -= 1;
      // Connect waits for a response or an error; a stream that is closed without either would keep it waiting.
      if (!responded && stream.listenerCount("error") > 0) stream.emit("error", new Error("stream closed unanswered"));
      if (session.streams > 0 || session.h2.destroyed) return;
      if (this.#current !== session) {
        session.h2.destroy();
        return;
      }
      session.idle = setTimeout(() => this.#retire(session), this.#idleTimeoutMs);
      session.idle.unref();
    });
  }
}
