/**
 * One blob's way to this host, from the first question to the last piece: the seeder's metainfo, the tracker's peers,
 * the download, and the origin when all of that does not deliver (docs/design.md, "The way of a pull").
 * @module
 */
import { createHash } from "node:crypto";
import { ClusterAuth } from "../cluster/cluster-auth.ts";
import { ClusterHttp } from "../cluster/cluster-http.ts";
import type { HttpClient } from "../http/client.ts";
import type { Logger } from "../log/log.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { MetaInfoClient } from "../rpc/client.ts";
import { MetaInfoError } from "../rpc/errors.ts";
import type { BlobEvent } from "../rpc/meta-info.ts";
import type { TrackerClient } from "../tracker/client.ts";
import { swarmKey } from "../tracker/keys.ts";
import type { BanList } from "./ban-list.ts";
import { Download } from "./download.ts";
import { BlobError } from "./errors.ts";
import { Layout } from "./layout.ts";
import type { RateLimiter } from "./limiter.ts";
import type { LiveBlob } from "./live-blob.ts";
import { decodeMetainfo } from "./metainfo.ts";
import { fillFromOrigin, type Origin } from "./origin-fill.ts";
import { fetchPeerMetainfo } from "./peer-metainfo.ts";
import type { PeerEndpoint } from "./sources/connection.ts";
import type { ConnectionPool } from "./sources/connection-pool.ts";
import { authority, HttpSource } from "./sources/http-source.ts";
import { SourceError } from "./sources/source.ts";
import type { Wire } from "./wire/wire.ts";
import type { WireDownload } from "./wire/wire-download.ts";

/** Peers a download keeps at most. */
const MAX_PEERS = 30;
/** With no source left that could deliver, the origin is asked after this, ms. */
const ALONE_MS = 300;
/** With sources that do not deliver, after this, ms. */
const STALL_MS = 5000;
const WATCH_MS = 100;
/** An origin that failed is asked again after this while sources are left, ms. */
const RETRY_ORIGIN_MS = 1000;
/** How often the seeders are asked again when their stream breaks. */
const MAX_REOPENS = 5;

/** What all fetches of a host share. */
export interface FetchContext {
  readonly metainfo: Pick<MetaInfoClient, "streamMetaInfo"> | undefined;
  readonly tracker: TrackerClient | undefined;
  readonly pool: ConnectionPool;
  readonly http: HttpClient;
  /** How the parts of the cluster know each other. @default everybody is a stranger */
  readonly cluster?: ClusterAuth;
  readonly bans: BanList;
  readonly downLimiter: RateLimiter;
  /** A blob that got no byte for so long fails, ms. */
  readonly downloadTimeoutMs: number;
  /** Largest blob, bytes. */
  readonly maxSize: number;
  /** 20 bytes, hex. */
  readonly peerId: string;
  /** Where this host's peer routes are. */
  readonly peerPort: number;
  /** The standard BitTorrent wire, where it is on. */
  readonly wire?: Wire | undefined;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** What is fetched, and how. */
export interface FetchRequest {
  /** Whole URL of the blob at its origin: what seeders are asked for. */
  readonly url: string;
  /** The origin in the caller's name: the last source. */
  readonly origin: Origin;
  /** Whether an anonymous caller may read it: else only parts of the cluster are asked for it, and offered it. */
  readonly isPublic: boolean;
  /**
   * Others are asked as a part of the cluster, and give what is private too: the origin has said that the caller may have
   * it. Else as anyone: what comes then is public by others' word. @default false
   */
  readonly asPart?: boolean;
  /** The caller's `Authorization`, for a seeder that has to read a private blob from the origin. */
  readonly authorization?: string | undefined;
  /** Nobody could say who may read it: a private one that is here already is refused. */
  readonly onlyPublic?: boolean;
  /** Bytes, as the origin told: who says otherwise is not believed. */
  readonly size?: number | undefined;
}

/** See the module. */
export class Fetch {
  readonly #blob: LiveBlob;
  readonly #request: FetchRequest;
  readonly #context: FetchContext;
  readonly #log: Logger;
  readonly #cluster: ClusterAuth;
  readonly #asPart: boolean;
  readonly #peers = new Map<string, PeerEndpoint>();
  /** Sources met before the layout was known. */
  readonly #waiting: ["peer" | "seeder", PeerEndpoint][] = [];
  #download: Download | undefined;
  #filling: Promise<void> | undefined;
  #noSeeder = false;
  #hashesFrom: string | undefined;
  #announcing = false;

  constructor(blob: LiveBlob, request: FetchRequest, context: FetchContext) {
    this.#blob = blob;
    this.#request = request;
    this.#context = context;
    this.#log = context.log.child({ blob: blob.digest.toString() });
    this.#cluster = context.cluster ?? new ClusterAuth();
    this.#asPart = request.asPart ?? false;
  }

  /** The peer whose list of hashes was taken in want of a seeder: its word alone. */
  get hashesFrom(): string | undefined {
    return this.#hashesFrom;
  }

  /** Fills the blob or fails it; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      const isShared = this.#request.isPublic || (this.#asPart && this.#cluster.closed);
      if (isShared) await this.#fromSwarm(signal);
      else await this.#fromOrigin(signal);
    } catch (cause) {
      await this.#blob.fail(BlobError.from(cause));
    }
  }

  /** A peer that may have pieces; nothing happens when it is known, banned or one too many. */
  addPeer(peer: PeerEndpoint & { peerId?: string }): void {
    const name = authority(peer);
    const { bans, peerId } = this.#context;
    if (peer.peerId === peerId || this.#peers.has(name) || this.#peers.size >= MAX_PEERS || bans.has(name)) return;
    const endpoint = { host: peer.host, port: peer.port, secure: this.#cluster.scheme === "https" };
    this.#peers.set(name, endpoint);
    this.#join("peer", endpoint);
  }

  async #fromSwarm(signal: AbortSignal): Promise<void> {
    const watched = new AbortController();
    const inner = AbortSignal.any([signal, watched.signal]);
    void this.#announce(inner);
    const metainfo = this.#followSeeders(inner).catch((error) => this.#withoutSeeder(error, inner));
    try {
      await Promise.race([this.#untilComplete(inner), this.#failed(metainfo)]);
    } finally {
      watched.abort();
    }
  }

  /** Resolves never; rejects when the metainfo's way ends in an error that ends the fetch. */
  async #failed(metainfo: Promise<void>): Promise<never> {
    await metainfo;
    return await new Promise<never>(() => {});
  }

  async #untilComplete(signal: AbortSignal): Promise<void> {
    await this.#blob.waitFor(() => this.#blob.layout !== undefined, signal);
    const download = this.#startDownload();
    const done = new AbortController();
    // Nobody on the wire can show who he is.
    const wire = this.#request.isPublic ? this.#context.wire?.join(this.#blob, download) : undefined;
    const watch = this.#watch({ download, wire, signal: AbortSignal.any([signal, done.signal]) });
    try {
      await Promise.race([download.run(signal), watch]);
    } finally {
      done.abort();
      wire?.[Symbol.dispose]();
    }
  }

  /** Reads the origin when nothing arrives. Rejects when that fails too and no source is left; else resolves never. */
  async #watch({
    download,
    wire,
    signal,
  }: {
    download: Download;
    wire: WireDownload | undefined;
    signal: AbortSignal;
  }): Promise<never> {
    for (;;) {
      await sleep(WATCH_MS, signal);
      const quiet = performance.now() - download.lastProgress;
      const patience = download.usefulSources > 0 || wire?.promising ? STALL_MS : ALONE_MS;
      const blind = this.#noSeeder && !this.#blob.hashes?.complete;
      if (this.#blob.have?.full || (quiet < patience && !blind)) continue;
      this.#log.info("nothing arrives from the swarm: reading the origin", {
        quietMs: Math.round(quiet),
        sources: download.sourceCount,
      });
      try {
        await this.#fromOrigin(signal);
      } catch (cause) {
        const error = BlobError.from(cause);
        const final = signal.aborted || this.#blob.error || error.code === "digest_mismatch";
        const alone = download.sourceCount === 0 && !wire?.promising;
        if (final || blind || alone || quiet > this.#context.downloadTimeoutMs) throw cause;
        this.#log.warn("the origin does not deliver either", { code: error.code, error: error.message });
        await sleep(RETRY_ORIGIN_MS, signal);
      }
    }
  }

  /** One read of the origin at a time, whoever asks for it. */
  #fromOrigin(signal: AbortSignal): Promise<void> {
    this.#filling ??= this.#readOrigin(signal).finally(() => {
      this.#filling = undefined;
    });
    return this.#filling;
  }

  async #readOrigin(signal: AbortSignal): Promise<void> {
    const { downLimiter, maxSize, metrics } = this.#context;
    try {
      await fillFromOrigin(this.#blob, {
        origin: this.#request.origin,
        limiter: downLimiter,
        maxSize,
        signal,
        onBytes: (bytes) => metrics.bytes.inc({ source: "origin", direction: "in" }, bytes),
      });
      metrics.originReads.inc({ result: "ok" });
    } catch (error) {
      metrics.originReads.inc({ result: BlobError.from(error).code });
      throw error;
    }
  }

  /** Takes what the seeders tell, from the next one when a stream breaks. @throws MetaInfoError when none tells. */
  async #followSeeders(signal: AbortSignal): Promise<void> {
    const { metainfo } = this.#context;
    if (!metainfo) throw new MetaInfoError("unavailable", "no seeder is configured");
    const avoid: URL[] = [];
    let known = 0;
    for (let attempt = 0; ; attempt++) {
      const stream = await metainfo.streamMetaInfo({
        url: this.#request.url,
        key: this.#blob.digest.toString(),
        asPart: this.#asPart,
        ...this.#credentials(),
        signal,
        avoid,
      });
      try {
        for await (const event of stream.events) await this.#take(event, stream.seeder);
        return;
      } catch (error) {
        if (!(error instanceof MetaInfoError) || signal.aborted || attempt >= MAX_REOPENS) throw error;
        // The same seeder broke off again and told nothing new meanwhile: it has nothing to tell.
        const again = avoid.some((url) => url.href === stream.seeder.href);
        if (again && (this.#blob.hashes?.known.count ?? 0) === known) throw error;
        known = this.#blob.hashes?.known.count ?? 0;
        this.#log.info("a seeder's stream broke", { seeder: stream.seeder.host, error: error.message });
        avoid.push(stream.seeder);
      }
    }
  }

  /** Credentials go to seeders that know this host for a part of their cluster, and for what is private alone. */
  #credentials(): { authorization?: string } {
    const { isPublic, authorization } = this.#request;
    return this.#cluster.closed && this.#asPart && !isPublic && authorization !== undefined ? { authorization } : {};
  }

  async #take(event: BlobEvent, seeder: URL): Promise<void> {
    const blob = this.#blob;
    if (event.type === "progress") blob.progress(event.bytes);
    else if (event.type === "hashes") blob.addHashes(event.firstIndex, event.sha1s);
    else if (event.type === "metainfo") blob.addHashes(0, this.#checked(event.metainfo).pieces);
    else {
      if (event.digest !== blob.digest.toString())
        throw new BlobError("digest_mismatch", `${seeder.host} answered for ${event.digest}`);
      if (!this.#isSize(event.size))
        throw new BlobError("unavailable", `${seeder.host} has ${event.size} bytes as ${blob.digest}`);
      if (event.size > this.#context.maxSize)
        throw new BlobError("too_large", `${blob.digest}: ${event.size} bytes are more than the cache may hold`);
      await blob.begin(new Layout(event.size, event.pieceLength));
      if (event.inline) await this.#storeInline(event.inline);
      else this.#join("seeder", endpointOf(seeder));
    }
  }

  #isSize(size: number): boolean {
    return this.#request.size === undefined || this.#request.size === size;
  }

  #checked(bytes: Uint8Array): ReturnType<typeof decodeMetainfo> {
    const metainfo = decodeMetainfo(bytes);
    if (metainfo.id !== this.#blob.id || !this.#blob.layout?.equals(metainfo.layout)) {
      throw new BlobError("digest_mismatch", `${this.#blob.digest}: the metainfo is another blob's`);
    }
    return metainfo;
  }

  async #storeInline(bytes: Uint8Array): Promise<void> {
    const { layout } = this.#blob;
    if (layout?.count !== 1 || bytes.length !== layout.size)
      throw new BlobError("digest_mismatch", `${this.#blob.digest}: the seeder sent another blob`);
    this.#blob.addHashes(0, createHash("sha1").update(bytes).digest());
    this.#context.metrics.bytes.inc({ source: "seeder", direction: "in" }, bytes.length);
    await this.#blob.store(0, bytes, "seeder");
  }

  /** No seeder tells (any more): what is known may be enough; else a peer's metainfo, else the origin. */
  async #withoutSeeder(cause: unknown, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#blob.have?.full) return;
    const error = cause instanceof MetaInfoError || cause instanceof BlobError ? cause : BlobError.from(cause);
    if (error.code === "digest_mismatch" || error.code === "too_large") throw error;
    this.#log.info("no seeder delivers the metainfo", { code: error.code, error: error.message });
    if (!this.#blob.layout) await this.#metainfoFromPeers(signal);
    this.#noSeeder = true;
    if (!this.#blob.layout) await this.#fromOrigin(signal);
  }

  async #metainfoFromPeers(signal: AbortSignal): Promise<void> {
    const { maxSize } = this.#context;
    const http = new ClusterHttp(this.#context.http, this.#cluster, { asPart: this.#asPart });
    const asked = new Set<string>();
    // Peers come in by the announce under way; what it brings within a moment is asked.
    for (const deadline = performance.now() + ALONE_MS; performance.now() < deadline; await sleep(20, signal)) {
      for (const [name, peer] of this.#peers) {
        if (asked.has(name)) continue;
        asked.add(name);
        const metainfo = await fetchPeerMetainfo(http, { peer, digest: this.#blob.digest, signal });
        if (!metainfo || metainfo.layout.size > maxSize || !this.#isSize(metainfo.layout.size)) continue;
        this.#hashesFrom = name;
        await this.#blob.begin(metainfo.layout);
        this.#blob.addHashes(0, metainfo.pieces);
        return;
      }
      if (!this.#announcing && asked.size === this.#peers.size) return;
    }
  }

  async #announce(signal: AbortSignal): Promise<void> {
    const { tracker } = this.#context;
    if (!tracker) return;
    const key = swarmKey(this.#blob.digest.toString());
    const left = () => Math.max(1, (this.#blob.size ?? 1) - this.#blob.received);
    let event: "started" | undefined = "started";
    try {
      while (!signal.aborted) {
        this.#announcing = event === "started";
        const answer = await tracker
          .announce(key, { ...(event ? { event } : {}), left: left(), signal })
          .catch((error: unknown) => {
            if (!signal.aborted) this.#log.debug("no tracker answers", { error });
            return undefined;
          });
        this.#announcing = false;
        for (const peer of answer?.peers ?? []) this.addPeer(peer);
        if (answer) event = undefined;
        await sleep(Math.min(answer?.intervalMs ?? 2000, 10_000), signal);
      }
    } catch {
      // The wait ended with the fetch.
    }
    const last = this.#blob.have?.full
      ? { event: "completed" as const, left: 0 }
      : { event: "stopped" as const, left: left() };
    tracker.announce(key, last).catch(() => {});
  }

  #startDownload(): Download {
    const { downLimiter, metrics, bans } = this.#context;
    this.#download = new Download({
      blob: this.#blob,
      limiter: downLimiter,
      log: this.#log,
      onBytes: (kind, bytes) => metrics.bytes.inc({ source: kind, direction: "in" }, bytes),
      onLiar: (source, error) => {
        metrics.badPieces.inc({ kind: source.kind });
        bans.add(source.name);
        this.#log.warn("banned a host whose bytes fail their hash", { host: source.name, error: error.message });
      },
      onLeave: (source, error) => this.#onLeave(source.name, error),
    });
    for (const [kind, endpoint] of this.#waiting) this.#join(kind, endpoint);
    this.#waiting.length = 0;
    return this.#download;
  }

  /** Adds a source, or keeps it until the download begins. */
  #join(kind: "peer" | "seeder", endpoint: PeerEndpoint): void {
    const { pool, http, peerId, peerPort } = this.#context;
    const { layout, digest } = this.#blob;
    if (!this.#download || !layout) {
      this.#waiting.push([kind, endpoint]);
      return;
    }
    const known = this.#download.find(authority(endpoint));
    // A seeder that itself still downloads is told of by trackers as well; as a seeder it gives more.
    if (known && (known.kind === kind || kind === "peer")) return;
    if (known) this.#download.remove(known, new SourceError("aborted", `${known.name} is a seeder`));
    const self = `${peerId};${peerPort}`;
    const depth = kind === "seeder" ? 2 : 1;
    const [cluster, asPart] = [this.#cluster, this.#asPart];
    const source = { kind, endpoint, digest: digest.toString(), layout, pool, http, cluster, asPart, self, depth };
    this.#download.add(new HttpSource(source));
  }

  #onLeave(name: string, error: SourceError): void {
    this.#log.debug("left a source", { source: name, code: error.code, error: error.message });
    // It may come back by a later announce, unless it is banned.
    this.#peers.delete(name);
  }
}

function endpointOf(url: URL): PeerEndpoint {
  const secure = url.protocol === "https:";
  return { host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port) || (secure ? 443 : 80), secure };
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}
