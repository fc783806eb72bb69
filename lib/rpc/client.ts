/**
 * @module
 * Asks the seeders for metainfo: one connection to each, the balancer's choice of one, the next when it fails.
 */
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ClusterAuth } from "../cluster/cluster-auth.ts";
import type { Logger } from "../log/log.ts";
import { Balancer, type Lease } from "./balancer.ts";
import type { Policy } from "./choice.ts";
import { SeederConnection } from "./connection.ts";
import type { Backoff } from "./endpoint-state.ts";
import { fromConnectError, MetaInfoError } from "./errors.ts";
import { MetaInfo } from "./gen/metainfo/metainfo_pb.ts";
import { type BlobEvent, MAX_AUTHORIZATION_BYTES, MAX_REPLY_BYTES, MAX_REQUEST_BYTES } from "./meta-info.ts";
import { openSeederStream } from "./seeder-stream.ts";

/** Options of {@link MetaInfoClient}. */
export interface MetaInfoClientOptions {
  /** `http:` is h2c. A path, if any, is put before the method's. Name the seeders alike on all hosts for `rendezvous`. */
  seeders: readonly URL[];
  /** @default "round_robin" */
  policy?: Policy;
  /** A seeder must send its first event in this time, ms, or the next is asked. @default 5000 */
  deadlineMs?: number;
  /** And each further event in this, ms. @default 30000 */
  progressTimeoutMs?: number;
  /** One of the two was over. */
  onTimeout?(bound: "header" | "idle"): void;
  backoff?: Backoff;
  log?: Logger;
  /** Monotonic clock of the back-off, ms. */
  now?: () => number;
  /** In [0, 1). */
  random?: () => number;
  /** PEM text of the authorities believed for https. @default the cluster's */
  ca?: string;
  /** Signs the calls, and shows this part's certificate. @default everybody is a stranger */
  cluster?: ClusterAuth;
}

/** A question to the seeders. */
export interface SeederQuery {
  /** Whole URL of the blob at its origin. */
  url: string;
  /** What `rendezvous` goes by: the digest. @default url */
  key?: string;
  /** The caller's `Authorization` for the origin. Seeders take it from parts of their own cluster alone. */
  authorization?: string;
  /** false: as anyone, for what anyone may have. @default true */
  asPart?: boolean;
  /** Ends the call; its reason is thrown. */
  signal?: AbortSignal;
  /** Seeders (as in the options) to leave out while another takes the call: those whose stream has just failed the caller. */
  avoid?: readonly URL[];
}

/** A stream from one seeder. */
export interface SeederStream {
  /** Which seeder answers. */
  seeder: URL;
  /**
   * The events, up to the metainfo. Read them to the end or leave the `for await`: an unread stream stays open until `signal` or
   * `close()`. Throws MetaInfoError; the caller then opens a new stream, with `avoid`.
   */
  events: AsyncIterable<BlobEvent>;
}

interface Endpoint {
  readonly url: URL;
  /** Where the calls go. */
  readonly callUrl: URL;
  readonly connection: SeederConnection;
  readonly client: Client<typeof MetaInfo>;
}

/** Client of the MetaInfo service of several seeders. Close it. */
export class MetaInfoClient implements AsyncDisposable {
  readonly #endpoints: readonly Endpoint[];
  readonly #balancer: Balancer;
  readonly #deadlineMs: number;
  readonly #progressTimeoutMs: number;
  readonly #onTimeout: (bound: "header" | "idle") => void;
  readonly #log: Logger | undefined;
  readonly #cluster: ClusterAuth;
  readonly #closing = new AbortController();

  constructor({
    seeders,
    policy,
    deadlineMs = 5000,
    progressTimeoutMs = 30_000,
    onTimeout = () => {},
    backoff,
    log,
    now,
    random,
    cluster = new ClusterAuth(),
    ca = cluster.tls.ca,
  }: MetaInfoClientOptions) {
    this.#cluster = cluster;
    this.#endpoints = seeders.map((url) => openEndpoint(url, { ca, certificate: cluster.tls.own }));
    this.#balancer = new Balancer({
      names: seeders.map(String),
      ...(policy && { policy }),
      ...(backoff && { backoff }),
      ...(now && { now }),
      ...(random && { random }),
    });
    this.#deadlineMs = deadlineMs;
    this.#progressTimeoutMs = progressTimeoutMs;
    this.#onTimeout = onTimeout;
    this.#log = log;
  }

  /** True while some seeder takes calls, or may be asked whether it is back. */
  get healthy(): boolean {
    return !this.#closing.signal.aborted && this.#balancer.healthy;
  }

  /**
   * The bencoded metainfo, when it is whole. Waits as long as the seeder shows progress; a seeder that fails midway is replaced by
   * the next.
   * @throws MetaInfoError; the signal's reason
   */
  async getMetaInfo(query: SeederQuery): Promise<Uint8Array> {
    return await this.#ask(query, async (open) => {
      for await (const event of await open()) if (event.type === "metainfo") return event.metainfo;
      throw new MetaInfoError("internal", `no metainfo of ${query.url}`);
    });
  }

  /**
   * Resolves when the first event of some seeder has come.
   * @throws MetaInfoError; the signal's reason
   */
  async streamMetaInfo(query: SeederQuery): Promise<SeederStream> {
    return await this.#ask(query, async (open, endpoint) => {
      const explain = (reason: unknown) => fromConnectError(reason, endpoint.url.host).error;
      return { seeder: endpoint.url, events: await open(explain) };
    });
  }

  /** Ends all calls (they throw "unavailable") and connections. */
  async close(): Promise<void> {
    this.#closing.abort(new MetaInfoError("unavailable", "the MetaInfo client is closed"));
    await Promise.all(this.#endpoints.map(({ connection }) => connection.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Makes attempts until one succeeds, an answer is final, or nobody is left: each seeder gets one attempt. */
  async #ask<T>(query: SeederQuery, attempt: (open: Open, endpoint: Endpoint) => Promise<T>): Promise<T> {
    checkQuery(query);
    const signal = query.signal ? AbortSignal.any([query.signal, this.#closing.signal]) : this.#closing.signal;
    const key = query.key ?? query.url;
    const asked = new Set<number>();
    let last: MetaInfoError | undefined;
    let waits = 0;
    for (;;) {
      signal.throwIfAborted();
      const lease = this.#choose(key, asked, query.avoid);
      if (lease === undefined) {
        // Somebody else's call is finding out whether a seeder is back: worth the wait before giving up.
        if (waits++ < this.#endpoints.length && (await this.#balancer.probed(asked, signal))) continue;
        throw last ?? new MetaInfoError("unavailable", "no seeder answers");
      }
      asked.add(lease.endpoint);
      const endpoint = this.#endpoints[lease.endpoint]!;
      try {
        return await attempt((explain) => this.#open(endpoint, lease, { query, signal, explain }), endpoint);
      } catch (reason) {
        if (signal.aborted) throw signal.reason;
        const failure = fromConnectError(reason, endpoint.url.host);
        if (failure.final) throw failure.error;
        // What a seeder said explains more than that another was not there.
        if (failure.spoken || last === undefined) last = failure.error;
        this.#log?.debug("asking the next seeder", { seeder: endpoint.url.host, url: query.url, error: failure.error });
      }
    }
  }

  #choose(key: string, asked: ReadonlySet<number>, avoid: readonly URL[] = []): Lease | undefined {
    if (avoid.length > 0) {
      const names = new Set(avoid.map(String));
      const excluded = new Set(asked);
      this.#endpoints.forEach(({ url }, index) => {
        if (names.has(String(url))) excluded.add(index);
      });
      const lease = this.#balancer.choose({ key, excluded });
      if (lease !== undefined) return lease;
    }
    return this.#balancer.choose({ key, excluded: asked });
  }

  /** One attempt at one seeder; tells the lease how it went, also when the stream breaks later. */
  async #open(
    endpoint: Endpoint,
    lease: Lease,
    { query, signal, explain }: { query: SeederQuery; signal: AbortSignal; explain: Explain | undefined },
  ): Promise<AsyncIterableIterator<BlobEvent>> {
    const open = () =>
      openSeederStream({
        client: endpoint.client,
        seeder: endpoint.url.host,
        url: query.url,
        ...(query.authorization !== undefined && { authorization: query.authorization }),
        headers: this.#cluster.headers("POST", endpoint.callUrl, { asPart: query.asPart ?? true }),
        signal,
        deadlineMs: this.#deadlineMs,
        progressTimeoutMs: this.#progressTimeoutMs,
        ...(explain && { explain }),
        onEnd: (reason) => {
          if (isLate(reason) && !signal.aborted) this.#onTimeout(begun ? "idle" : "header");
          // A seeder that has spoken and then falls silent may be waiting for its origin: only a broken connection is an outage.
          if (begun && reason !== undefined && !signal.aborted && !isLate(reason))
            this.#settle(endpoint, lease, reason);
        },
      });
    let begun = false;
    const reused = endpoint.connection.connected;
    try {
      let stream: AsyncIterableIterator<BlobEvent>;
      try {
        stream = await open();
      } catch (reason) {
        // A connection kept from earlier may have died while idle; that says nothing of the seeder. Questions may be repeated.
        const dead = reused && !isLate(reason) && !fromConnectError(reason, endpoint.url.host).spoken;
        if (signal.aborted || !dead) throw reason;
        stream = await open();
      }
      begun = true;
      this.#settle(endpoint, lease, undefined);
      return stream;
    } catch (reason) {
      if (signal.aborted) lease.abandoned();
      else this.#settle(endpoint, lease, reason);
      throw reason;
    }
  }

  #settle(endpoint: Endpoint, lease: Lease, reason: unknown): void {
    const seeder = endpoint.url.host;
    const failure = reason === undefined ? undefined : fromConnectError(reason, seeder);
    if (failure === undefined || failure.spoken) {
      if (lease.answered()) this.#log?.info("seeder is back", { seeder });
      return;
    }
    if (!lease.failed({ disconnected: !isLate(reason) })) return;
    endpoint.connection.renew();
    this.#log?.warn("seeder does not answer", { seeder, error: failure.error });
  }
}

type Explain = (reason: unknown) => unknown;
type Open = (explain?: Explain) => Promise<AsyncIterableIterator<BlobEvent>>;

function openEndpoint(
  url: URL,
  { ca, certificate }: { ca: string | undefined; certificate: { cert: string; key: string } | undefined },
): Endpoint {
  const connection = new SeederConnection(url, {
    ...(ca !== undefined && { ca }),
    ...(certificate && { certificate }),
  });
  const baseUrl = url.origin + url.pathname.replace(/\/+$/, "");
  const transport = createGrpcTransport({
    baseUrl,
    sessionManager: connection,
    readMaxBytes: MAX_REPLY_BYTES,
    writeMaxBytes: MAX_REQUEST_BYTES,
    // Piece hashes do not compress.
    acceptCompression: [],
  });
  const callUrl = new URL(`${baseUrl}/${MetaInfo.typeName}/${MetaInfo.method.streamMetaInfo.name}`);
  return { url, callUrl, connection, client: createClient(MetaInfo, transport) };
}

/** Refuses what could not be sent, so that it is not taken for a seeder's failure. */
function checkQuery({ url, authorization }: SeederQuery): void {
  // A UTF-16 unit is at most 3 bytes of UTF-8; 16 bytes are more than the field's own frame.
  if (url.length * 3 + 16 > MAX_REQUEST_BYTES) {
    throw new MetaInfoError("invalid_argument", `the blob's URL has ${url.length} characters`);
  }
  if (authorization === undefined) return;
  if (authorization.length > MAX_AUTHORIZATION_BYTES || !/^[\x20-\x7e]*$/.test(authorization)) {
    throw new MetaInfoError(
      "invalid_argument",
      "the caller's Authorization is too long or has bytes no header may have",
    );
  }
}

function isLate(reason: unknown): boolean {
  return reason instanceof MetaInfoError && reason.code === "deadline_exceeded";
}
