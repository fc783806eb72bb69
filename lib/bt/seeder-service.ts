/**
 * The seeder's side of the MetaInfo service: reads a blob from its origin once, however many ask, and tells of it as
 * it becomes known.
 * @module
 */
import { AccessChecker, type Verdict } from "../access/access.ts";
import type { Handle } from "../cache/index.ts";
import type { Logger } from "../log/log.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { RegistryError, registryErrorCode } from "../registry/errors.ts";
import type { Caller, OriginClient } from "../registry/origin-client.ts";
import type { Upstreams } from "../registry/upstreams.ts";
import { MetaInfoError, type MetaInfoErrorCode } from "../rpc/errors.ts";
import { type BlobEvent, MAX_INLINE_BYTES, type MetaInfoQuery, type MetaInfoService } from "../rpc/meta-info.ts";
import type { BlobStore } from "./blob-store.ts";
import { blobUrl } from "./blob-url.ts";
import { BlobError, type BlobErrorCode } from "./errors.ts";
import type { RateLimiter } from "./limiter.ts";
import type { LiveBlob } from "./live-blob.ts";
import { encodeMetainfo } from "./metainfo.ts";
import { MismatchMemory } from "./mismatch-memory.ts";
import { asBlobError, fillFromOrigin, type Origin } from "./origin-fill.ts";
import { registryOrigin } from "./registry-origin.ts";
import type { SharedFills } from "./sharing/shared-fills.ts";
import { sleep } from "./sleep.ts";
import type { TimeBounds } from "./time-bounds.ts";

/** A sign of life at least this often, ms. */
const PROGRESS_MS = 1000;
/**
 * Hashes that become known within this time share an event, ms, as each costs every asker about as much as a piece; but
 * no asker waits longer for them by more than this share.
 */
const HASHES_MS = 15;
const HASHES_SHARE = 1 / 16;
/** Why a wait for something else ended. */
const LATE = new Error("it is time for another sign of life");

export interface SeederServiceInit {
  readonly store: BlobStore;
  readonly origins: OriginClient;
  readonly upstreams: Upstreams;
  readonly downLimiter: RateLimiter;
  /** Largest blob, bytes. */
  readonly maxSize: number;
  /** Tracker announce URLs for standard clients, in tiers. */
  readonly announce: readonly (readonly string[])[];
  /** How long the origin may be silent. */
  readonly bounds: TimeBounds;
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
  readonly #access: AccessChecker;

  constructor(init: SeederServiceInit) {
    this.#init = init;
    this.#access = new AccessChecker({ origins: init.origins, timeoutMs: init.bounds.firstByteMs, log: init.log });
  }

  async getMetaInfo(query: MetaInfoQuery): Promise<Uint8Array> {
    const handle = await this.#acquire(query);
    const { signal } = query;
    try {
      await handle.blob.waitFor(() => handle.blob.verified, signal);
      return await this.torrent(handle.blob);
    } catch (error) {
      throw asMetaInfoError(error, query);
    } finally {
      handle.release();
    }
  }

  async *streamMetaInfo(query: MetaInfoQuery): AsyncGenerator<BlobEvent> {
    const handle = await this.#acquire(query);
    const { signal } = query;
    try {
      yield* this.#tell(handle.blob, signal);
    } catch (error) {
      throw asMetaInfoError(error, query);
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
    const { isPublic, ...exact } = metainfo;
    // No standard swarm has a private blob.
    const announce = isPublic ? { announce: this.#init.announce } : {};
    return encodeMetainfo({ ...exact, ...announce, ...(webSeed ? { urlList: [webSeed] } : {}) });
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
        const begun = performance.now();
        for (let told = 0; told < count && !blob.verified; ) {
          const known = hashes.known.firstMissing(told);
          if (known > told) {
            yield { type: "hashes", firstIndex: told, sha1s: hashes.bytes.slice(told * 20, known * 20) };
            told = known;
            if (told < count) await sleep(Math.min(HASHES_MS, (performance.now() - begun) * HASHES_SHARE), signal);
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

  async #acquire(query: MetaInfoQuery): Promise<Handle<LiveBlob>> {
    const { url, signal, isPart = false, authorization } = query;
    const { store, upstreams } = this.#init;
    try {
      const place = blobUrl(url, upstreams);
      const { upstream, digest } = place;
      if (!store.has(digest)) this.#mismatches.check(digest);
      // Another seeder may have another default origin.
      const whole = url.startsWith("/") ? new URL(url, upstream.base).href : url;
      const fill = { ...place, url: whole, caller: () => this.#callerOf(place, { isPart, authorization }) };
      for (let attempt = 1; ; attempt++) {
        const handle = await store.acquire(digest, (blob) => this.#fill(blob, fill), { signal });
        const isDone = isPart ? attempt > 1 || (await outlives(handle, signal)) : await this.#mayHave(handle, fill);
        if (isDone) return handle;
      }
    } catch (error) {
      throw asMetaInfoError(error, query);
    }
  }

  /** In whose name the origin is read: what comes by the anonymous is public, all else is not. */
  #callerOf(
    place: Place,
    { isPart, authorization }: { isPart: boolean; authorization: string | undefined },
  ): Caller | Promise<Caller> {
    if (!isPart) return ANONYMOUS;
    if (authorization !== undefined) return { kind: "caller", authorization };
    if (place.upstream.credentials === undefined) return ANONYMOUS;
    return this.#access
      .checkPublic({ ...place, authorization: undefined })
      .then((verdict) => (verdict.kind === "allowed" ? ANONYMOUS : { kind: "configured" }));
  }

  /**
   * Whether a stranger may have a blob that is here. One that is private may have become public, or be so in another
   * repository: the origin is asked.
   * @returns true
   * @throws MetaInfoError what the origin says to strangers; the handle is released then
   */
  async #mayHave(handle: Handle<LiveBlob>, place: Place): Promise<true> {
    const { blob } = handle;
    try {
      if (blob.isPublic) return true;
      const { upstream, repository, digest } = place;
      const query = { upstream, repository, digest, authorization: undefined, isPrivateHere: true };
      const verdict = await this.#access.checkPublic(query);
      if (verdict.kind !== "allowed") throw asBlobError(refusalOf(verdict, place), blob, upstream.name);
      await this.#init.store.publish(blob);
      return true;
    } catch (error) {
      handle.release();
      throw error;
    }
  }

  #originOf({ upstream, repository, digest }: Place, caller: Caller): Origin {
    const { origins, bounds } = this.#init;
    return registryOrigin(origins, { upstream, repository, digest, caller, bounds });
  }

  /** What was begun is finished, whoever leaves: the store's signal, which says that nobody waits, is not used. */
  #fill(blob: LiveBlob, at: Place & { url: string; caller: () => Caller | Promise<Caller> }): void {
    const { upstream, url } = at;
    const { downLimiter, maxSize, metrics, log } = this.#init;
    // Here as well: a caller that met the second failure in its last moment begins the third attempt.
    this.#mismatches.check(blob.digest);
    blob.done.catch((error) => {
      if (error instanceof BlobError && error.code === "digest_mismatch") this.#mismatches.add(blob.digest);
    });
    const failed = new AbortController();
    const onBytes = (bytes: number) => metrics.bytes.inc({ source: "origin", direction: "in" }, bytes);
    const { signal } = failed;
    blob.done.catch((error) => failed.abort(error));
    const filling = async (): Promise<boolean> => {
      const asked = at.caller();
      const caller = asked instanceof Promise ? await asked : asked;
      if (caller.kind === "anonymous") blob.isPublic = true;
      const origin = this.#originOf(at, caller);
      // Credentials are not handed on: each seeder reads what is private by itself.
      const sharing = blob.isPublic ? this.#init.sharing?.() : undefined;
      if (sharing) return await sharing.fill(blob, { url, origin, signal, onBytes });
      await fillFromOrigin(blob, { origin, limiter: downLimiter, maxSize, signal, onBytes });
      return true;
    };
    filling()
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
          const { level, words } = FAILURES[error.code];
          log[level](words, {
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

/** What is said when a blob could not be brought in: what an origin refuses to one caller is no fault of anybody. */
const FAILURES: Readonly<Record<BlobErrorCode, { level: "info" | "warn"; words: string }>> = {
  digest_mismatch: { level: "warn", words: "the origin's bytes are not those that the digest names" },
  other_list: { level: "warn", words: "what two say of a blob does not agree" },
  not_found: { level: "info", words: "the origin does not have a blob" },
  unauthorized: { level: "info", words: "the origin refuses a blob" },
  denied: { level: "info", words: "the origin refuses a blob" },
  too_large: { level: "info", words: "there is no room for a blob here: it goes past this seeder" },
  unavailable: { level: "warn", words: "could not read a blob from its origin" },
  storage: { level: "warn", words: "could not store a blob: the seeder's own disk failed" },
  abandoned: { level: "info", words: "ceased to read a blob" },
};

/** Where a blob is asked for. */
type Place = ReturnType<typeof blobUrl>;

const ANONYMOUS: Caller = { kind: "anonymous" };

/** Refusals of an origin: what one caller is told, another may not be. */
const REFUSALS: readonly BlobErrorCode[] = ["unauthorized", "denied", "not_found"];

/**
 * Whether a blob that others began to ask for, maybe in a name that gets nothing, goes on. Else the handle is released,
 * and the next attempt is made in another name.
 */
async function outlives(handle: Handle<LiveBlob>, signal: AbortSignal): Promise<boolean> {
  const { blob, source } = handle;
  if (source !== "joined") return true;
  try {
    await blob.waitFor(() => blob.layout !== undefined, signal);
    return true;
  } catch (error) {
    if (!(error instanceof BlobError) || !REFUSALS.includes(error.code) || signal.aborted) return true;
    handle.release();
    await blob.done.catch(() => {});
    return false;
  }
}

function refusalOf(verdict: Exclude<Verdict, { kind: "allowed" }>, { upstream, digest }: Place): RegistryError {
  if (verdict.kind === "unknown") return verdict.error;
  const { status, challenge } = verdict;
  return new RegistryError(registryErrorCode(status), `${upstream.name} answers ${status} for ${digest}`, {
    status,
    ...(challenge === undefined ? {} : { challenge }),
  });
}

/** Waits for a condition for at most a second. @returns Whether it holds. */
async function changed(blob: LiveBlob, condition: () => boolean, signal: AbortSignal): Promise<boolean> {
  if (condition()) return true;
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(LATE), PROGRESS_MS);
  try {
    await blob.waitFor(condition, AbortSignal.any([signal, late.signal]));
    return true;
  } catch (error) {
    if (error !== LATE) throw error;
    return condition();
  } finally {
    clearTimeout(timer);
  }
}

const CODES: Readonly<Record<BlobErrorCode, MetaInfoErrorCode>> = {
  digest_mismatch: "internal",
  other_list: "unavailable",
  not_found: "not_found",
  unauthorized: "unauthenticated",
  denied: "permission_denied",
  too_large: "resource_exhausted",
  unavailable: "unavailable",
  storage: "unavailable",
  abandoned: "unavailable",
};

/** @param query Whom it is told. */
function asMetaInfoError(error: unknown, { isPart = false, authorization }: MetaInfoQuery): unknown {
  if (!(error instanceof BlobError)) return error;
  const { code, message, challenge } = error;
  if (authorization !== undefined && !isPart && (code === "unauthorized" || code === "denied")) {
    const why = "a seeder uses the credentials of its own cluster's callers alone (cluster.secret)";
    return new MetaInfoError("permission_denied", `${message}; ${why}`, { cause: error });
  }
  return new MetaInfoError(CODES[code], message, { cause: error, ...(challenge ? { challenge } : {}) });
}
