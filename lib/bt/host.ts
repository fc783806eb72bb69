/**
 * What a proxy and a seeder have alike: storage and cache, limits, the connections to registries and peers, and the
 * words to the trackers.
 * @module
 */
import { ClusterAuth } from "../cluster/cluster-auth.ts";
import { ClusterHttp } from "../cluster/cluster-http.ts";
import { type MinFree, minFreeBytes } from "../config/index.ts";
import { HttpClient } from "../http/client.ts";
import type { Logger } from "../log/log.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Digest } from "../registry/digest.ts";
import { OriginClient } from "../registry/origin-client.ts";
import { FsStorage, type Storage } from "../storage/index.ts";
import { TrackerClient } from "../tracker/client.ts";
import { Heartbeat } from "../tracker/heartbeat.ts";
import { BlobStore } from "./blob-store.ts";
import { BufferPool } from "./buffer-pool.ts";
import { troubleAtStart } from "./disk-health.ts";
import { RateLimiter } from "./limiter.ts";
import type { LiveBlob } from "./live-blob.ts";
import { createPeerId } from "./peer-id.ts";
import type { PeerOfferInit } from "./peer-offer.ts";
import { CHUNK } from "./piece-source.ts";
import { Precedence } from "./precedence.ts";
import { Connector } from "./sources/connection.ts";
import { ConnectionPool } from "./sources/connection-pool.ts";
import { type Bound, type TimeBounds, type TimeBoundsConfig, timeBounds } from "./time-bounds.ts";
import { Uploader } from "./uploader.ts";
import { Wire } from "./wire/wire.ts";

/** Read buffers kept while nobody reads. */
const MAX_IDLE_BUFFERS = 8;

/** The part of the configuration that both have. */
export interface HostConfig extends TimeBoundsConfig {
  readonly rootDirectory: string;
  /** Bytes. */
  readonly limitSize: number;
  readonly minFree: MinFree;
  /** Seconds; see `BlobStoreInit`. @default never */
  readonly ttl?: number | undefined;
  /** Bytes a second. @default 0: never */
  readonly scrubRate?: number;
  /** Bytes a second; 0: no limit. */
  readonly downloadRateLimit: number;
  readonly uploadRateLimit: number;
  readonly trackers: readonly (readonly URL[])[];
  readonly advertise?: string | undefined;
  readonly zone?: string | undefined;
  /** Whether the standard BitTorrent wire is spoken. @default false */
  readonly bittorrent?: boolean;
}

/** This host among the others. */
export interface Swarm extends AsyncDisposable {
  readonly tracker: TrackerClient | undefined;
}

/** See the module. */
export interface Host extends AsyncDisposable {
  readonly cluster: ClusterAuth;
  readonly store: BlobStore;
  readonly uploader: Uploader;
  /** Hosts of Eagle before others. */
  readonly precedence: Precedence;
  /** The standard BitTorrent wire, where it is on. The app lets it listen before `start`. */
  readonly wire: Wire | undefined;
  /** Buffers that blobs are read into, for clients and peers. */
  readonly buffers: BufferPool;
  readonly downLimiter: RateLimiter;
  readonly upLimiter: RateLimiter;
  readonly origins: OriginClient;
  readonly http: HttpClient;
  readonly pool: ConnectionPool;
  /** How long it waits for others. */
  readonly bounds: TimeBounds;
  /** 40 hex digits. */
  readonly peerIdHex: string;
  /** Begins to tell the trackers what this host holds. @param port Where its peer routes are. */
  join(port: number): Swarm;
  /** Takes over what an earlier process stored. */
  start(): Promise<void>;
  /** What it offers to others, and how. */
  readonly offer: PeerOfferInit;
  /** Lets go of other hosts that wait for pieces: call it before their listener is closed. */
  stop(): void;
}

/** What a host is made with, beside its configuration. */
export interface HostInit {
  readonly log: Logger;
  readonly metrics: Metrics;
  /** How the parts of the cluster know each other. @default everybody is a stranger */
  readonly cluster?: ClusterAuth;
  /** This host's entry for `Via`, where it is a proxy. */
  readonly via?: string;
  /** A fetch that nobody waits for goes on for so long, ms. */
  readonly abandonAfterMs?: number;
  /** Closed with the host. @default files in the root directory */
  readonly storage?: Storage;
  /** Most bytes of blobs in a storage elsewhere, whose copies here `limitSize` bounds. @default all there are */
  readonly remoteLimit?: number | undefined;
  /** See `BlobStoreInit`. */
  isStoredByOther?(blob: LiveBlob): Promise<boolean>;
}

/** @throws StorageError when the root directory cannot be used. */
export async function createHost(
  config: HostConfig,
  {
    log,
    metrics,
    cluster = new ClusterAuth(),
    abandonAfterMs,
    remoteLimit = Number.MAX_SAFE_INTEGER,
    isStoredByOther,
    via,
    ...init
  }: HostInit,
): Promise<Host> {
  const peerId = createPeerId();
  const storage: Storage =
    init.storage ?? (await FsStorage.open({ rootDirectory: config.rootDirectory, onTrouble: troubleAtStart(log) }));
  const bounds = timeBounds(config);
  const { dialMs: connectTimeoutMs, headerMs: headersTimeoutMs, idleMs } = bounds;
  const onTimeout = (bound: Bound) => metrics.timeouts.inc({ bound });
  const http = new HttpClient({
    connectTimeoutMs,
    headersTimeoutMs,
    idleTimeoutMs: idleMs,
    onTimeout,
  });
  const pool = new ConnectionPool({ connector: new Connector({ connectTimeoutMs, tls: cluster.tls, onTimeout }) });
  // Trackers are parts too.
  const parts = new ClusterHttp(http, cluster);
  const stopping = new AbortController();
  const uploader = new Uploader();
  let heartbeat: Heartbeat | undefined;
  const store = new BlobStore({
    storage,
    limitSize: storage.remote ? remoteLimit : config.limitSize,
    minFree: (total) => (storage.remote ? 0 : minFreeBytes(config.minFree, total)),
    ttlMs: config.ttl === undefined ? undefined : config.ttl * 1000,
    scrubRate: config.scrubRate,
    // The hot tier does not know of them.
    leftoverLimit: storage.remote ? config.limitSize / 10 : config.limitSize,
    log,
    metrics,
    ...(abandonAfterMs === undefined ? {} : { abandonAfterMs }),
    ...(isStoredByOther ? { isStoredByOther } : {}),
    sharesPrivate: cluster.closed,
    onOffer: (digest, metainfo) => {
      heartbeat?.add(digest);
      // Nobody on the wire can show who he is.
      if (metainfo?.isPublic) wire?.offer(digest, metainfo);
    },
    onLeave: (digest) => {
      heartbeat?.remove(digest);
      wire?.withdraw(digest);
    },
  });
  const upLimiter = new RateLimiter(config.uploadRateLimit);
  const { trackers, zone } = config;
  const peek = (digest: Digest) => store.peek(digest);
  const precedence = new Precedence();
  const wire = config.bittorrent
    ? new Wire({ peerId, trackers, zone, http: parts, limiter: upLimiter, precedence, peek, log, metrics })
    : undefined;
  const buffers = new BufferPool(CHUNK, MAX_IDLE_BUFFERS);
  return {
    cluster,
    store,
    uploader,
    offer: {
      ...{ blobs: store, uploader, cluster, limiter: upLimiter, precedence, buffers, stopping: stopping.signal },
      onBytes: (bytes) => metrics.bytes.inc({ source: "peer", direction: "out" }, bytes),
    },
    precedence,
    wire,
    buffers,
    downLimiter: new RateLimiter(config.downloadRateLimit),
    upLimiter,
    origins: new OriginClient({ http, log, via }),
    http,
    pool,
    bounds,
    peerIdHex: Buffer.from(peerId).toString("hex"),
    join(port) {
      if (config.trackers.length === 0) return { tracker: undefined, async [Symbol.asyncDispose]() {} };
      const common = {
        trackers: config.trackers,
        peerId,
        port,
        http: parts,
        log,
        ...(config.zone ? { zone: config.zone } : {}),
        ...(config.advertise ? { host: config.advertise } : {}),
      };
      const tracker = new TrackerClient({ ...common, isClosed: cluster.closed, metrics });
      const beat = new Heartbeat(common);
      heartbeat = beat;
      for (const digest of store.offered()) beat.add(digest);
      beat.start();
      return {
        tracker,
        async [Symbol.asyncDispose]() {
          await beat.stop();
          await tracker.close();
        },
      };
    },
    start: () => store.start(),
    stop() {
      stopping.abort();
      uploader.close();
    },
    async [Symbol.asyncDispose]() {
      await wire?.[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
      pool[Symbol.dispose]();
      await http.close();
    },
  };
}
