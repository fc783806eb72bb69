/**
 * One blob's way to this host, from the first question to the last piece: the seeder's metainfo, the tracker's peers,
 * the download, and the origin when all of that does not deliver (docs/design.md, "The way of a pull").
 * @module
 */
import { ClusterAuth } from "../cluster/cluster-auth.ts";
import type { HttpClient } from "../http/client.ts";
import type { Logger } from "../log/log.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { MetaInfoClient } from "../rpc/client.ts";
import { MetaInfoError } from "../rpc/errors.ts";
import { MAX_INLINE_BYTES } from "../rpc/meta-info.ts";
import type { PeerAddress, TrackerClient } from "../tracker/client.ts";
import { Announcer } from "./announcer.ts";
import type { BanList } from "./ban-list.ts";
import type { Bitfield } from "./bitfield.ts";
import { Download } from "./download.ts";
import { BlobError, type BlobErrorCode } from "./errors.ts";
import type { RateLimiter } from "./limiter.ts";
import type { LiveBlob } from "./live-blob.ts";
import { MetainfoFeed } from "./metainfo-feed.ts";
import { Neighbourhood } from "./neighbourhood.ts";
import { fillFromOrigin, type Origin } from "./origin-fill.ts";
import { SeederSearch } from "./seeder-search.ts";
import { setLatest } from "./set-latest.ts";
import { sleep } from "./sleep.ts";
import type { PeerEndpoint } from "./sources/connection.ts";
import type { ConnectionPool } from "./sources/connection-pool.ts";
import { authority, endpointOf, HttpSource } from "./sources/http-source.ts";
import { type PieceSource, SourceError } from "./sources/source.ts";
import { impatientMs, type TimeBounds } from "./time-bounds.ts";
import type { Wire } from "./wire/wire.ts";
import type { WireDownload } from "./wire/wire-download.ts";
import { formatPeerHeader } from "./wire-format.ts";

/** Peers remembered at most, those that were heard of last. */
const MAX_KNOWN = 200;
/** With no source left that could deliver, the origin is asked after this, ms. */
const ALONE_MS = 300;
/** With none but the seeder that may take the place of a lost one: so long after it was asked for, ms. */
const REPLACING_MS = 1000;
/** With sources that have brought nothing yet, after this share of the time to the first byte; all of it later. */
const FIRST_SHARE = 0.8;
/** And up to this share of it later, by chance: whom the same seeder leaves waiting do not all ask at the same moment. */
const JITTER = 0.2;
/** Others are asked for a blob when it has not come whole with the seeder's first word, or after this, ms. */
const ANNOUNCE_MS = 50;
const WATCH_MS = 100;
/** An origin that failed is asked again after this while sources are left, ms. */
const RETRY_ORIGIN_MS = 1000;

/** Of these no other source makes anything better. */
const CONTRADICTIONS: readonly BlobErrorCode[] = ["digest_mismatch", "other_list"];

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
  /** The downloads that run; see `DownloadInit`. */
  readonly downloads?: Set<unknown>;
  /** How long others may be silent: a blob that got no byte for `idleMs` fails. */
  readonly bounds: TimeBounds;
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
  /** The `Eagle-Peer` header of this fetch. */
  readonly #self: string;
  /** All that were heard of. */
  readonly #peers = new Map<string, PeerEndpoint>();
  readonly #neighbourhood = new Neighbourhood<PeerEndpoint>({
    neighbours: () => this.#download?.neighbours() ?? [],
    medianMs: () => this.#download?.medianMs,
    isBanned: (name) => this.#context.bans.has(name),
    follow: (peer) => this.#join("peer", peer),
    leave: (name) => {
      const source = this.#download?.find(name);
      if (source) this.#download?.remove(source, new SourceError("aborted", `${name} gives way to another peer`));
    },
  });
  /** Sources met before the layout was known. */
  readonly #waiting: ["peer" | "seeder", PeerEndpoint][] = [];
  readonly #feed: MetainfoFeed;
  readonly #search: SeederSearch;
  /** Seeders whose pieces were wrong. */
  readonly #shunned = new Set<string>();
  readonly #announcer: Announcer | undefined;
  /** Once the layout is known. */
  #download: Download | undefined;
  #wire: WireDownload | undefined;
  #filling: Promise<void> | undefined;
  #noSeeder = false;
  readonly #jitter = 1 + JITTER * Math.random();

  constructor(blob: LiveBlob, request: FetchRequest, context: FetchContext) {
    this.#blob = blob;
    this.#request = request;
    this.#context = context;
    this.#log = context.log.child({ blob: blob.digest.toString() });
    this.#cluster = context.cluster ?? new ClusterAuth();
    this.#asPart = request.asPart ?? false;
    const { tracker, peerId, peerPort: port } = context;
    this.#self = formatPeerHeader({ peerId, port, download: crypto.randomUUID().slice(0, 8) });
    this.#announcer = tracker && new Announcer({ tracker, blob, log: this.#log });
    this.#feed = new MetainfoFeed({
      blob,
      request,
      context,
      cluster: this.#cluster,
      asPart: this.#asPart,
      log: this.#log,
      onSeeder: (seeder) => this.#onSeeder(endpointOf(seeder)),
    });
    this.#search = new SeederSearch({
      ask: (signal) => this.#feed.followSeeders(signal),
      isNeeded: () => this.#isBlind || !this.#isHeldByPeers(),
      mayPass: isOutage,
      log: this.#log,
    });
  }

  /** The peer whose list of hashes was taken in want of a seeder: its word alone. */
  get hashesFrom(): string | undefined {
    return this.#feed.hashesFrom;
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

  /** Peers that may have pieces, by a tracker's word. */
  #hearOf(peers: readonly PeerAddress[]): void {
    const known = peers.flatMap((peer) => this.#know(peer) ?? []);
    this.#neighbourhood.hearOf(known.map((peer) => [authority(peer), peer]));
  }

  /** A peer that follows this host's pieces: it is followed back. */
  addFollower(peer: PeerEndpoint & { peerId?: string }): void {
    const known = this.#know(peer);
    if (known) this.#neighbourhood.welcome(authority(known), known);
  }

  /** @returns Where the peer is; undefined when it is this host, or banned */
  #know(peer: PeerEndpoint & { peerId?: string }): PeerEndpoint | undefined {
    const name = authority(peer);
    const { bans, peerId } = this.#context;
    if (peer.peerId === peerId || bans.has(name)) return undefined;
    const endpoint = { host: peer.host, port: peer.port, secure: this.#cluster.scheme === "https" };
    setLatest(this.#peers, name, endpoint, MAX_KNOWN);
    return endpoint;
  }

  /** Median ms of the latest pieces; undefined before the first. */
  get pieceMs(): number | undefined {
    return this.#download?.medianMs;
  }

  /** What a peer has, as far as it told; undefined when it is not followed. */
  piecesOf(peer: PeerEndpoint): Bitfield | undefined {
    return this.#download?.find(authority(peer))?.pieces;
  }

  async #fromSwarm(signal: AbortSignal): Promise<void> {
    const watched = new AbortController();
    const inner = AbortSignal.any([signal, watched.signal]);
    const told = this.#feed.followSeeders(inner);
    void this.#announce(told, inner);
    const metainfo = told.catch((error) => this.#withoutSeeder(error, inner));
    this.#searchSeeders(inner).catch((error) => {
      if (!inner.aborted && !this.#blob.error) this.#log.warn("the search for seeders failed", { error });
    });
    try {
      await Promise.race([this.#untilComplete(inner), this.#failed(metainfo)]);
    } finally {
      watched.abort();
    }
  }

  /** A small blob comes whole with the seeder's first word: then nobody else has to be asked, or told. Never rejects. */
  async #announce(told: Promise<void>, signal: AbortSignal): Promise<void> {
    const announcer = this.#announcer;
    if (!announcer) return;
    const spoken = new AbortController();
    try {
      const known = this.#layoutKnown(AbortSignal.any([signal, spoken.signal]));
      await Promise.race([known, told, sleep(ANNOUNCE_MS, AbortSignal.any([signal, spoken.signal]))]).catch(() => {});
    } finally {
      spoken.abort();
    }
    const isInline = (this.#blob.size ?? this.#request.size ?? Number.POSITIVE_INFINITY) <= MAX_INLINE_BYTES;
    if (isInline) await told.catch(() => {});
    if (signal.aborted || this.#blob.have?.full) return;
    await announcer.run((peers) => this.#hearOf(peers), signal);
  }

  /** Makes lost seeders good, once it is known what a seeder's word must agree with. */
  async #searchSeeders(signal: AbortSignal): Promise<void> {
    if (!this.#context.metainfo) return;
    await this.#layoutKnown(signal);
    await this.#search.run(signal);
  }

  #layoutKnown(signal: AbortSignal): Promise<void> {
    return this.#blob.waitFor(() => this.#blob.layout !== undefined, signal);
  }

  /** Resolves never; rejects when the metainfo's way ends in an error that ends the fetch. */
  async #failed(metainfo: Promise<void>): Promise<never> {
    await metainfo;
    return await new Promise<never>(() => {});
  }

  async #untilComplete(signal: AbortSignal): Promise<void> {
    const done = new AbortController();
    const inner = AbortSignal.any([signal, done.signal]);
    try {
      await Promise.race([this.#fromSources(inner), this.#watch(inner)]);
    } finally {
      done.abort();
      this.#wire?.[Symbol.dispose]();
    }
  }

  /** Takes pieces from whoever has them, once the layout is known. */
  async #fromSources(signal: AbortSignal): Promise<void> {
    await this.#layoutKnown(signal);
    signal.throwIfAborted();
    const download = this.#startDownload();
    // Nobody on the wire can show who he is.
    this.#wire = this.#request.isPublic ? this.#context.wire?.join(this.#blob, download) : undefined;
    await Promise.race([download.run(signal), this.#neighbourhood.run(signal)]);
  }

  /**
   * Reads the origin when nothing arrives, be it the layout. Rejects when that fails too and no source is left; else
   * resolves never.
   */
  async #watch(signal: AbortSignal): Promise<never> {
    const { bounds, metrics } = this.#context;
    const begun = performance.now();
    for (;;) {
      await sleep(WATCH_MS, signal);
      const download = this.#download;
      const { hasSources, patience, since } = this.#hope();
      const quiet = performance.now() - Math.max(since, download?.lastProgress ?? begun);
      if (this.#blob.isWhole || (quiet < patience && !this.#isBlind)) continue;
      this.#log.info("nothing arrives from the swarm: reading the origin", {
        quietMs: Math.round(quiet),
        sources: download?.sourceCount ?? 0,
      });
      if (hasSources && quiet >= patience)
        metrics.timeouts.inc({ bound: this.#blob.received > 0 ? "stall" : "first_byte" });
      try {
        await this.#fromOrigin(signal);
      } catch (cause) {
        const error = BlobError.from(cause);
        const final = signal.aborted || this.#blob.error || CONTRADICTIONS.includes(error.code);
        const alone = download?.sourceCount === 0 && !this.#wire?.promising && !this.#search.isAsking;
        if (final || this.#isBlind || alone || quiet > bounds.idleMs) throw cause;
        this.#log.warn("the origin does not deliver either", { code: error.code, error: error.message });
        await sleep(RETRY_ORIGIN_MS, signal);
      }
    }
  }

  /**
   * Whether somebody may bring what is missing, and how long, ms, and since when at the earliest, monotonic ms, that is
   * waited for. A seeder in the place of a lost one keeps nobody from the origin before it has brought something: it may
   * have to read the blob itself.
   */
  #hope(): { hasSources: boolean; patience: number; since: number } {
    const download = this.#download;
    const { isAsking, askedAt } = this.#search;
    // Before the layout there is a seeder that shows signs of life, or peers are being asked.
    const isHere = !download || this.#wire?.promising === true;
    const isProven = isHere || download.deliveredAt("seeder") >= askedAt;
    if (isHere || (isProven ? download.usefulSources : download.usefulPeers) > 0)
      return { hasSources: true, patience: this.#patienceMs(), since: 0 };
    const isReplacing = isAsking || (!isProven && download.usefulSources > 0);
    return { hasSources: false, patience: isReplacing ? REPLACING_MS : ALONE_MS, since: isReplacing ? askedAt : 0 };
  }

  /** Nobody is left who would tell what pieces are right: sources are of no use for those that are not known. */
  get #isBlind(): boolean {
    return this.#noSeeder && !this.#feed.isTelling && !this.#blob.hashes?.complete;
  }

  /** How long sources may bring nothing before the origin is asked. */
  #patienceMs(): number {
    const { firstByteMs } = this.#context.bounds;
    return this.#jitter * (this.#blob.received > 0 ? firstByteMs : firstByteMs * FIRST_SHARE);
  }

  /** One read of the origin at a time, whoever asks for it. */
  #fromOrigin(signal: AbortSignal): Promise<void> {
    this.#filling ??= this.#readOrigin(signal).finally(() => {
      this.#filling = undefined;
    });
    return this.#filling;
  }

  async #readOrigin(signal: AbortSignal): Promise<void> {
    const { downLimiter, maxSize, metrics, bounds } = this.#context;
    const blob = this.#blob;
    const begun = performance.now();
    const othersDeliver = () => this.#isServed(Math.max(begun, performance.now() - impatientMs(bounds)));
    try {
      await fillFromOrigin(blob, {
        origin: this.#request.origin,
        limiter: downLimiter,
        maxSize,
        signal,
        onBytes: (bytes) => metrics.bytes.inc({ source: "origin", direction: "in" }, bytes),
        othersDeliver,
      });
      metrics.originReads.inc({ result: "ok" });
    } catch (error) {
      metrics.originReads.inc({ result: BlobError.from(error).code });
      throw error;
    }
  }

  /**
   * Whether the swarm has delivered of late, and may bring all that is missing: a seeder goes on, or peers have it between
   * them. Peers that have but what they read at the origin themselves do not keep this host from it.
   * @param since Monotonic ms.
   */
  #isServed(since: number): boolean {
    const download = this.#download;
    if (!download || this.#isBlind || download.usefulSources === 0) return false;
    if (Math.max(download.deliveredAt("seeder"), this.#feed.progressAt) > since) return true;
    return this.#isHeldByPeers(since);
  }

  /**
   * Whether peers have all that is missing.
   * @param since Counts those that have brought something since, monotonic ms. @default all
   */
  #isHeldByPeers(since = -1): boolean {
    const { have, hashes } = this.#blob;
    if (!have || !hashes?.complete) return false;
    const held = have.clone();
    for (const { key, lastPieceAt = 0 } of this.#download?.neighbours() ?? []) {
      if (lastPieceAt > since) for (const piece of this.#download?.find(key)?.pieces ?? []) held.add(piece);
    }
    return held.full;
  }

  /** No seeder tells (any more): what is known may be enough; else a peer's metainfo, else the origin. */
  async #withoutSeeder(cause: unknown, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#blob.have?.full) return;
    const error = cause instanceof MetaInfoError || cause instanceof BlobError ? cause : BlobError.from(cause);
    if (error.code === "digest_mismatch" || error.code === "too_large") throw error;
    this.#log.info("no seeder delivers the metainfo", { code: error.code, error: error.message });
    if (!this.#blob.layout) {
      const allHeard = () => this.#announcer?.answered !== false;
      await this.#feed.fromPeers(this.#peers, { allHeard, signal });
    }
    this.#noSeeder = true;
    if (isOutage(error)) this.#search.lose({ soon: false });
    // Once the layout is known the origin is watched over like any other source.
    if (!this.#blob.layout) await Promise.race([this.#fromOrigin(signal), this.#layoutKnown(signal)]);
  }

  #startDownload(): Download {
    const { pool, downLimiter, downloads, metrics, bans } = this.#context;
    this.#download = new Download({
      blob: this.#blob,
      ...(downloads && { downloads }),
      limiter: downLimiter,
      log: this.#log,
      distanceMs: () => pool.distanceMs,
      onBytes: (kind, bytes) => metrics.bytes.inc({ source: kind, direction: "in" }, bytes),
      onLiar: (source, error) => {
        metrics.badPieces.inc({ kind: source.kind });
        bans.add(source.name);
        this.#log.warn("banned a host whose bytes fail their hash", { host: source.name, error: error.message });
      },
      onLeave: (source, error) => this.#onLeave(source, error),
    });
    for (const [kind, endpoint] of this.#waiting) this.#join(kind, endpoint);
    this.#waiting.length = 0;
    return this.#download;
  }

  /** Adds a source, or keeps it until the download begins. */
  #join(kind: "peer" | "seeder", endpoint: PeerEndpoint): void {
    const { pool, bounds } = this.#context;
    const { layout, digest } = this.#blob;
    if (!this.#download || !layout) {
      this.#waiting.push([kind, endpoint]);
      return;
    }
    const known = this.#download.find(authority(endpoint));
    // A seeder that itself still downloads is told of by trackers as well; as a seeder it gives more.
    if (known && (known.kind === kind || kind === "peer")) return;
    if (known) this.#download.remove(known, new SourceError("aborted", `${known.name} is a seeder`));
    const [cluster, asPart, self] = [this.#cluster, this.#asPart, this.#self];
    const source = { kind, endpoint, digest: digest.toString(), layout, pool, cluster, asPart, self, bounds };
    this.#download.add(new HttpSource(source));
  }

  /** A seeder tells of the blob, and gives its pieces. */
  #onSeeder(seeder: PeerEndpoint): void {
    if (this.#shunned.has(authority(seeder))) return;
    this.#search.found();
    this.#join("seeder", seeder);
  }

  #onLeave({ kind, name }: PieceSource, { code, message }: SourceError): void {
    this.#log.debug("left a source", { source: name, code, error: message });
    this.#neighbourhood.left(name);
    if (kind !== "seeder") return;
    if (code === "liar" || code === "other_list") this.#shunned.add(name);
    this.#feed.avoid(name);
    // One that told, but never gave anything, may well tell again.
    this.#search.lose({ soon: this.#download?.deliveredAt("seeder") !== 0 });
  }
}

/** Whether no seeder answers. What one says is its answer: asking again would have it try again what it cannot do. */
function isOutage(error: unknown): boolean {
  return error instanceof MetaInfoError && !error.spoken && ["unavailable", "deadline_exceeded"].includes(error.code);
}
