/**
 * The seeder's side of the MetaInfo service: reads a blob from its origin once, however many ask, and tells of it as
 * it becomes known.
 * @module
 */
import type { Handle } from "../cache/index.ts";
import type { Logger } from "../log/log.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { OriginClient } from "../registry/origin-client.ts";
import type { Upstream, Upstreams } from "../registry/upstreams.ts";
import { MetaInfoError, type MetaInfoErrorCode } from "../rpc/errors.ts";
import { type BlobEvent, MAX_INLINE_BYTES, type MetaInfoQuery, type MetaInfoService } from "../rpc/meta-info.ts";
import type { BlobStore } from "./blob-store.ts";
import { blobUrl } from "./blob-url.ts";
import { BlobError, type BlobErrorCode } from "./errors.ts";
import type { RateLimiter } from "./limiter.ts";
import type { LiveBlob } from "./live-blob.ts";
import { encodeMetainfo } from "./metainfo.ts";
import { MismatchMemory } from "./mismatch-memory.ts";
import { fillFromOrigin } from "./origin-fill.ts";
import { registryOrigin } from "./registry-origin.ts";
import type { SharedFills } from "./sharing/shared-fills.ts";

/** A sign of life at least this often, ms. */
const PROGRESS_MS = 1000;

export interface SeederServiceInit {
  readonly store: BlobStore;
  readonly origins: OriginClient;
  readonly upstreams: Upstreams;
  readonly downLimiter: RateLimiter;
  /** Largest blob, bytes. */
  readonly maxSize: number;
  /** Tracker announce URLs for standard clients, in tiers. */
  readonly announce: readonly (readonly string[])[];
  /** Milliseconds without a byte of the origin. */
  readonly downloadTimeoutMs: number;
  /** Where other seeders share the storage. */
  readonly sharing?: (() => SharedFills | undefined) | undefined;
  /** Called before somebody is given the metainfo to join the standard swarm by; may take a moment. */
  onTorrent?(blob: LiveBlob): Promise<void> | undefined;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** See the module. */
export class SeederService implements MetaInfoService {
  readonly #init: SeederServiceInit;
  readonly #mismatches = new MismatchMemory();

  constructor(init: SeederServiceInit) {
    this.#init = init;
  }

  async getMetaInfo({ url, signal }: MetaInfoQuery): Promise<Uint8Array> {
    const handle = await this.#acquire(url, signal);
    try {
      await handle.blob.waitFor(() => handle.blob.verified, signal);
      return await this.torrent(handle.blob);
    } catch (error) {
      throw asMetaInfoError(error);
    } finally {
      handle.release();
    }
  }

  async *streamMetaInfo({ url, signal }: MetaInfoQuery): AsyncGenerator<BlobEvent> {
    const handle = await this.#acquire(url, signal);
    try {
      yield* this.#tell(handle.blob, signal);
    } catch (error) {
      throw asMetaInfoError(error);
    } finally {
      handle.release();
    }
  }

  /** The metainfo of a verified blob for standard clients: with trackers and, given the seeder's own URL, a web seed. */
  async torrent(blob: LiveBlob, webSeed?: string): Promise<Uint8Array> {
    await this.#init.onTorrent?.(blob);
    return this.#metainfo(blob, webSeed);
  }

  #metainfo(blob: LiveBlob, webSeed?: string): Uint8Array {
    const metainfo = blob.metainfo();
    if (!metainfo) throw new MetaInfoError("unavailable", `${blob.digest}: the metainfo is not complete`);
    const { isPublic: _, ...exact } = metainfo;
    return encodeMetainfo({ ...exact, announce: this.#init.announce, ...(webSeed ? { urlList: [webSeed] } : {}) });
  }

  async *#tell(blob: LiveBlob, signal: AbortSignal): AsyncGenerator<BlobEvent> {
    let read = 0;
    const unsubscribe = blob.subscribe((change) => {
      if (change.type === "progress") read = Math.max(read, change.bytes);
    });
    try {
      while (!(await changed(blob, () => blob.layout !== undefined, signal))) yield { type: "progress", bytes: 0 };
      const { size, pieceLength, count } = blob.layout!;
      const event = { type: "blob" as const, digest: blob.digest.toString(), size, pieceLength };
      if (size <= MAX_INLINE_BYTES) {
        while (!(await changed(blob, () => blob.verified, signal))) yield { type: "progress", bytes: read };
        const inline = new Uint8Array(size);
        await blob.read(inline, 0);
        yield { ...event, inline };
      } else {
        yield event;
        const hashes = blob.hashes!;
        for (let told = 0; told < count && !blob.verified; ) {
          const known = hashes.known.firstMissing(told);
          if (known > told) {
            yield { type: "hashes", firstIndex: told, sha1s: hashes.bytes.slice(told * 20, known * 20) };
            told = known;
          } else if (!(await changed(blob, () => hashes.known.has(told), signal))) {
            yield { type: "progress", bytes: Math.max(read, blob.received) };
          }
        }
        while (!(await changed(blob, () => blob.verified, signal))) yield { type: "progress", bytes: blob.received };
      }
      yield { type: "metainfo", metainfo: this.#metainfo(blob) };
    } finally {
      unsubscribe();
    }
  }

  async #acquire(url: string, signal: AbortSignal): Promise<Handle<LiveBlob>> {
    const { store, upstreams } = this.#init;
    try {
      const { upstream, repository, digest } = blobUrl(url, upstreams);
      if (!store.has(digest)) this.#mismatches.check(digest);
      // Another seeder may have another default origin.
      const whole = url.startsWith("/") ? new URL(url, upstream.base).href : url;
      return await store.acquire(digest, (blob) => this.#fill(blob, { upstream, repository, url: whole }), { signal });
    } catch (error) {
      throw asMetaInfoError(error);
    }
  }

  /** What was begun is finished, whoever leaves: the store's signal, which says that nobody waits, is not used. */
  #fill(blob: LiveBlob, at: { upstream: Upstream; repository: string; url: string }): void {
    const { upstream, repository, url } = at;
    const { origins, downLimiter, maxSize, metrics, downloadTimeoutMs, log } = this.#init;
    // Here as well: a caller that met the second failure in its last moment begins the third attempt.
    this.#mismatches.check(blob.digest);
    blob.isPublic = true;
    blob.done.catch((error) => {
      if (error instanceof BlobError && error.code === "digest_mismatch") this.#mismatches.add(blob.digest);
    });
    const origin = registryOrigin(origins, {
      upstream,
      repository,
      digest: blob.digest,
      caller: { kind: "anonymous" },
      progressTimeoutMs: downloadTimeoutMs,
    });
    const failed = new AbortController();
    const onBytes = (bytes: number) => metrics.bytes.inc({ source: "origin", direction: "in" }, bytes);
    const { signal } = failed;
    const sharing = this.#init.sharing?.();
    const filling: Promise<boolean> = sharing
      ? sharing.fill(blob, { url, origin, signal, onBytes })
      : fillFromOrigin(blob, { origin, limiter: downLimiter, maxSize, signal, onBytes }).then(() => true);
    blob.done.catch((error) => failed.abort(error));
    filling
      .then(async (fromOrigin) => ({ fromOrigin, size: await blob.done }))
      .then(
        ({ fromOrigin, size }) => {
          if (!fromOrigin) return log.info("took a blob from another seeder", { blob: blob.digest.toString(), size });
          metrics.originReads.inc({ result: "ok" });
          log.info("read a blob from its origin", { blob: blob.digest.toString(), size, origin: upstream.name });
        },
        async (cause) => {
          const error = BlobError.from(cause);
          metrics.originReads.inc({ result: error.code });
          log.warn("could not read a blob from its origin", {
            blob: blob.digest.toString(),
            origin: upstream.name,
            code: error.code,
            error: error.message,
          });
          await blob.fail(error);
        },
      );
  }
}

/** Waits for a condition for at most a second. @returns Whether it holds. */
async function changed(blob: LiveBlob, condition: () => boolean, signal: AbortSignal): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const inner = new AbortController();
  const timer = setTimeout(() => resolve(condition()), PROGRESS_MS);
  blob.waitFor(condition, AbortSignal.any([signal, inner.signal])).then(() => resolve(true), reject);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    inner.abort();
  }
}

const CODES: Readonly<Record<BlobErrorCode, MetaInfoErrorCode>> = {
  digest_mismatch: "internal",
  not_found: "not_found",
  unauthorized: "unauthenticated",
  denied: "permission_denied",
  too_large: "resource_exhausted",
  unavailable: "unavailable",
  storage: "unavailable",
  abandoned: "unavailable",
};

function asMetaInfoError(error: unknown): unknown {
  if (!(error instanceof BlobError)) return error;
  const { code, message, challenge } = error;
  return new MetaInfoError(CODES[code], message, { cause: error, ...(challenge ? { challenge } : {}) });
}
