/**
 * The blobs of one host: a storage and a cache around live blobs. Proxy and seeder have one each; what differs is how
 * a blob is fetched.
 * @module
 */
import { stat } from "node:fs/promises";
import { BlobCache, type Handle, type LeaveReason } from "../cache/index.ts";
import type { Logger } from "../log/log.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Digest } from "../registry/digest.ts";
import { BlobNotFoundError, type Storage } from "../storage/index.ts";
import { DiskHealth } from "./disk-health.ts";
import { BlobError } from "./errors.ts";
import { Leftovers } from "./leftovers.ts";
import { LiveBlob } from "./live-blob.ts";
import { encodeMetainfo, type Metainfo } from "./metainfo.ts";
import { digestOf, openStored, storedMetainfo } from "./stored-blob.ts";
import { Upkeep } from "./upkeep.ts";

/** A blob that a shared storage did not have is not looked for again so soon, unless it is to be fetched, ms. */
const MISSING_MS = 3000;
const MAX_MISSING = 1000;
/** Metainfo files that are read at once at a start. */
const READERS = 16;

/** What a store needs. */
export interface BlobStoreInit {
  readonly storage: Storage;
  /** Bytes. */
  readonly limitSize: number;
  /** Bytes to keep free on a disk of so many. */
  readonly minFree: (total: number) => number;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** A fetch that nobody waits for goes on for so long, ms. @default 60000 */
  readonly abandonAfterMs?: number;
  /** A blob that nobody used for so long leaves, ms; of those stored elsewhere this host's copy. @default never */
  readonly ttlMs?: number | undefined;
  /** Most bytes of half-arrived blobs kept to go on with. @default limitSize */
  readonly leftoverLimit?: number | undefined;
  /** Bytes a second of stored blobs that are read again to find damage. @default 0: none */
  readonly scrubRate?: number | undefined;
  /** When that begins after a start, ms. */
  readonly scrubDelayMs?: number | undefined;
  /**
   * Asked before a verified blob is stored in a storage that others share: whether one of them has stored it or does.
   * May take as long as that takes.
   */
  isStoredByOther?(blob: LiveBlob): Promise<boolean>;
  /** Private blobs are offered too: the cluster's own parts, who may have them, can be told from strangers. @default false */
  readonly sharesPrivate?: boolean;
  /**
   * A blob that others may have is here to stay, or leaves. The metainfo, where it is at hand, says who may have it.
   * Told again when a private one has become public.
   */
  onOffer?(digest: string, metainfo?: Metainfo): void;
  onLeave?(digest: string): void;
}

/**
 * Begins to fill a blob; must see to it that it is filled or fails, in the end. The signal aborts when nobody wants it.
 * What it throws fails the blob.
 */
export type Fill = (blob: LiveBlob, signal: AbortSignal) => void;

/** See the module. `start` before use. */
export class BlobStore implements AsyncDisposable {
  readonly #init: BlobStoreInit;
  readonly #cache: BlobCache<LiveBlob>;
  /** Committed blobs that are offered, and whether to anyone. */
  readonly #offered = new Map<string, boolean>();
  /** Ids that a shared storage did not have, until when (monotonic ms). */
  readonly #missing = new Map<string, number>();

  readonly #health: DiskHealth;
  readonly #leftovers: Leftovers;
  readonly #upkeep: Upkeep;
  /** Why blobs that are being removed are. */
  readonly #damaged = new Map<string, BlobError>();
  #arriving = 0;

  constructor(init: BlobStoreInit) {
    this.#init = init;
    this.#health = new DiskHealth({ log: init.log });
    const { storage, log, metrics } = init;
    this.#leftovers = new Leftovers({
      storage,
      log,
      limit: init.leftoverLimit ?? init.limitSize,
      isResumable: (id) =>
        stat(storage.getPartialJournalPath(id)).then(
          () => true,
          () => false,
        ),
    });
    this.#cache = new BlobCache<LiveBlob>({
      limitSize: init.limitSize,
      minFree: init.minFree,
      // What is stored elsewhere takes no room of this disk: the hot tier sees to that by itself.
      freeSpace: async () => (init.storage.remote ? boundless : await init.storage.freeSpace()),
      open: (id) => this.#open(id),
      remove: (id) => init.storage.delete(id),
      onCommit: () => this.#measure(),
      onEvict: (id, leave) => this.#withdraw(id, leave),
      onStay: (id) => void this.#offerAgain(id),
      scraps: this.#leftovers,
      ttlMs: storage.remote ? undefined : init.ttlMs,
      touch: (id, agoMs) => storage.touch(id, Date.now() - agoMs),
      log: init.log,
      ...(init.abandonAfterMs === undefined ? {} : { abandonAfterMs: init.abandonAfterMs }),
    });
    this.#upkeep = new Upkeep({
      storage,
      leftovers: this.#leftovers,
      kept: {
        ids: () => this.#cache.ids(),
        isCommitted: (id) => this.#cache.has(id) === "committed",
        digestOf,
        restoreUse: async (id) => {
          const agoMs = this.#cache.unusedMs(id);
          if (agoMs !== undefined) await storage.touch(id, Date.now() - agoMs);
        },
        remove: (id, damage) => this.#remove(id, damage),
        isBusy: () => this.#arriving > 0,
      },
      scrubRate: init.scrubRate ?? 0,
      scrubDelayMs: init.scrubDelayMs,
      ttlMs: init.ttlMs,
      log,
      metrics,
    });
  }

  /** Takes over what an earlier process committed, and what it left half-done; sweeps what nobody can use. */
  async start(): Promise<void> {
    const { storage } = this.#init;
    await this.#leftovers.load();
    await this.#cache.load(storage.list());
    // Only seeders store elsewhere; each metainfo is looked at before its blob is served.
    if (storage.remote) for (const id of this.#cache.ids()) this.#offer(id, undefined);
    else await this.#takeOver();
    this.#measure();
    this.#upkeep.start();
  }

  /** Offers what may be offered; of a blob and its metainfo neither is of use without the other. */
  async #takeOver(): Promise<void> {
    const { storage, log } = this.#init;
    const ids = [...this.#cache.ids()].values();
    const look = async () => {
      for (const id of ids) {
        const metainfo = await storedMetainfo(storage, id);
        if (metainfo && this.#isShared(metainfo)) this.#offer(id, metainfo);
        // Undefined: what hinders now (too many open files, say) may not hinder when it is asked for.
        if (metainfo !== null) continue;
        log.warn("a stored blob has no metainfo that can be read: it is removed, to be fetched anew", { blob: id });
        await this.#cache.remove(id).catch(() => {});
      }
    };
    await Promise.all(Array.from({ length: READERS }, look));
    for await (const id of storage.listMetaInfo?.() ?? []) {
      if (!this.#cache.has(id)) await storage.delete(id).catch(() => {});
    }
  }

  /** Digests of committed blobs that may be offered to others. */
  *offered(): Generator<string> {
    for (const id of this.#offered.keys()) yield digestOf(id).toString();
  }

  has(digest: Digest): "committed" | "active" | undefined {
    return this.#cache.has(digest.hex);
  }

  /** Whether a blob of so many bytes is here, or could be taken in now. */
  async takes(digest: Digest, size: number): Promise<boolean> {
    return this.has(digest) !== undefined || (await this.#admits(digest.hex, size));
  }

  /** What the disk had no room for when it was measured last may have room now: it is measured again. */
  async #admits(id: string, size: number, present = 0): Promise<boolean> {
    if (this.#cache.admits(size, { present })) return true;
    if (!this.#cache.fits(size)) return false;
    await this.#cache.check();
    if (this.#cache.admits(size, { present })) return true;
    const full = Object.assign(new Error(`no room for ${size} bytes above the free-space watermark (minFree)`), {
      code: "ENOSPC",
    });
    this.#health.failed(full, id);
    return false;
  }

  /**
   * The blob, committed or arriving; begins its arrival when there is none. One arrival however many ask.
   * @throws BlobError
   */
  async acquire(digest: Digest, fill: Fill, options: { signal?: AbortSignal } = {}): Promise<Handle<LiveBlob>> {
    for (;;) {
      const handle = await this.#acquire(digest, fill, options);
      if (handle.source !== "joined" || !handle.blob.error) return handle;
      // It has just failed and is being cleared away: this caller begins anew instead of inheriting the error.
      handle.release();
      await handle.blob.done.catch(() => {});
      options.signal?.throwIfAborted();
    }
  }

  async #acquire(digest: Digest, fill: Fill, options: { signal?: AbortSignal }): Promise<Handle<LiveBlob>> {
    try {
      return await this.#cache.acquire(
        digest.hex,
        async () => (await this.#stored(digest)) ?? (await this.#create(digest, fill)),
        options,
      );
    } catch (cause) {
      throw BlobError.from(cause, "unavailable");
    }
  }

  /** The blob if it is here or arriving; begins nothing. */
  async peek(digest: Digest, options: { signal?: AbortSignal } = {}): Promise<Handle<LiveBlob> | undefined> {
    const here = await this.#cache.peek(digest.hex, options);
    if (here || !this.#init.storage.remote?.objects.shared || this.#isMissing(digest.hex)) return here;
    const blob = await this.#stored(digest);
    if (!blob) return undefined;
    return await this.#cache.acquire(digest.hex, async () => blob, options);
  }

  /** Whether the blob is here, or arriving, and not everybody may read it. */
  async isPrivate(digest: Digest, options: { signal?: AbortSignal } = {}): Promise<boolean> {
    const here = this.has(digest);
    if (!here) return false;
    // Every committed blob that anyone may read is offered; without the metainfo of those elsewhere that is not known.
    if (here === "committed" && !this.#init.storage.remote) return this.#offered.get(digest.hex) !== true;
    const handle = await this.peek(digest, options);
    handle?.release();
    return handle !== undefined && !handle.blob.isPublic;
  }

  /** Notes that an anonymous caller may read the blob: from now on it is offered to others. */
  async publish(blob: LiveBlob): Promise<void> {
    if (blob.isPublic) return;
    blob.isPublic = true;
    if (!blob.committed) return;
    this.#offer(blob.id, blob.metainfo());
    await this.#notePublic(blob);
  }

  /** What is stored is stored, whether this can be noted or not: only the next process would know by it. */
  async #notePublic(blob: LiveBlob): Promise<void> {
    try {
      await this.#init.storage.createWithMetaInfo(blob.id, encodeMetainfo(blob.metainfo()!));
    } catch (error) {
      this.#init.log.warn("could not note that a blob is public", { blob: blob.id, error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#upkeep.close();
    await this.#cache.close();
    await this.#leftovers.removed();
    await this.#init.storage.close();
  }

  async #create(digest: Digest, fill: Fill): Promise<LiveBlob> {
    const { storage, metrics } = this.#init;
    const leftover = await this.#leftovers.take(digest.hex);
    const gone = new AbortController();
    const blob = new LiveBlob({
      digest,
      place: { path: storage.getPartialPath(digest.hex), journal: storage.getPartialJournalPath(digest.hex) },
      leftover,
      admits: (size) => this.#admits(digest.hex, size, leftover),
      onRevived: (bytes) => metrics.resumedBytes.inc(bytes),
      commit: (blob) => this.#commit(blob),
      onAbandon: () => gone.abort(new BlobError("abandoned", `${digest}: nobody asks for it any more`)),
    });
    metrics.activeDownloads.inc();
    this.#arriving++;
    const ended = () => {
      metrics.activeDownloads.dec();
      this.#arriving--;
      if (blob.leftover > 0) this.#leftovers.add(blob.id, blob.leftover);
      this.#measure();
    };
    blob.done.then(
      () => {
        ended();
        this.#health.worked();
      },
      (error: BlobError) => {
        ended();
        if (error.code === "storage") this.#health.failed(error, digest.hex);
      },
    );
    const { remote } = storage;
    if (remote) {
      const unsubscribe = blob.subscribe(({ type }) => {
        if (type !== "layout") return;
        unsubscribe();
        remote.makeRoom(blob.size ?? 0).catch((error: unknown) => this.#init.log.warn("no room for a blob", { error }));
      });
    }
    try {
      fill(blob, gone.signal);
    } catch (cause) {
      void blob.fail(BlobError.from(cause));
    }
    return blob;
  }

  /** A blob that somebody else has put into a shared storage. */
  async #stored(digest: Digest): Promise<LiveBlob | undefined> {
    const { storage, log } = this.#init;
    if (!storage.remote?.objects.shared) return undefined;
    try {
      const blob = await this.#open(digest.hex);
      this.#missing.delete(digest.hex);
      if (this.#isShared(blob)) this.#offer(blob.id, blob.metainfo());
      return blob;
    } catch (error) {
      if (!(error instanceof BlobNotFoundError)) log.warn("cannot look for a blob", { blob: digest.hex, error });
      this.#missing.delete(digest.hex);
      this.#missing.set(digest.hex, performance.now() + MISSING_MS);
      for (const oldest of this.#missing.keys()) {
        if (this.#missing.size <= MAX_MISSING) break;
        this.#missing.delete(oldest);
      }
      return undefined;
    }
  }

  #isMissing(id: string): boolean {
    return (this.#missing.get(id) ?? 0) > performance.now();
  }

  async #commit(blob: LiveBlob): Promise<void> {
    const { storage } = this.#init;
    const metainfo = blob.metainfo();
    if (!metainfo) throw new BlobError("storage", `${blob.digest}: committed before its metainfo is complete`);
    const path = storage.getPartialPath(blob.id);
    if (storage.remote && (await this.#init.isStoredByOther?.(blob))) await storage.remote.keep(blob.id, path);
    else {
      try {
        await storage.createWithMetaInfo(blob.id, encodeMetainfo(metainfo));
        await storage.upload(blob.id, { path }, { verify: true });
      } catch (error) {
        // On a full disk the metainfo of every failed attempt would take what is left. What others share is left alone.
        if (!storage.remote) await storage.delete(blob.id).catch(() => {});
        throw error;
      }
    }
    // Published while it was being stored.
    if (blob.isPublic && !metainfo.isPublic) await this.#notePublic(blob);
    if (this.#isShared(blob)) this.#offer(blob.id, blob.metainfo());
  }

  #open(id: string): Promise<LiveBlob> {
    const { storage, log } = this.#init;
    return openStored(id, { storage, log, onReadFailure: (cause) => this.#onReadFailure(id, cause) });
  }

  /** A committed blob whose bytes the disk does not give back is let go: the next to ask fetches it anew. */
  #onReadFailure(id: string, cause: unknown): void {
    const { storage, log } = this.#init;
    // EIO, or a file that is too short, which no system error tells of.
    const isDamage = !(cause instanceof Error && "code" in cause && cause.code !== "EIO");
    if (storage.remote || !isDamage) return;
    this.#health.failed(cause, id);
    log.warn("the disk does not give back a stored blob: it is removed, to be fetched anew", {
      blob: id,
      error: cause,
    });
    // A failing removal is logged by the cache.
    this.#cache.remove(id).catch(() => {});
  }

  #offer(id: string, metainfo: Metainfo | undefined): void {
    const isPublic = metainfo?.isPublic === true;
    const offered = this.#offered.get(id);
    if (offered !== undefined && (offered || !isPublic)) return;
    this.#offered.set(id, isPublic);
    this.#init.onOffer?.(digestOf(id).toString(), metainfo);
  }

  #isShared({ isPublic }: { readonly isPublic?: boolean }): boolean {
    return isPublic === true || this.#init.sharesPrivate === true;
  }

  async #remove(id: string, damage?: string): Promise<void> {
    const digest = digestOf(id);
    if (damage !== undefined) this.#damaged.set(id, new BlobError("storage", `${digest}: the stored blob ${damage}`));
    try {
      await this.#cache.remove(id);
    } finally {
      this.#damaged.delete(id);
    }
  }

  #withdraw(id: string, { reason, blob }: { reason: LeaveReason; blob: LiveBlob | undefined }): void {
    this.#init.metrics.evictions.inc({ reason });
    blob?.withdraw(this.#damaged.get(id));
    if (this.#offered.delete(id)) this.#init.onLeave?.(digestOf(id).toString());
    queueMicrotask(() => this.#measure());
  }

  /** It was withdrawn, but the disk would not let it go. */
  async #offerAgain(id: string): Promise<void> {
    const { storage } = this.#init;
    const metainfo = storage.remote ? undefined : await storedMetainfo(storage, id);
    const isOffered = storage.remote !== undefined || (metainfo && this.#isShared(metainfo));
    if (isOffered && this.#cache.has(id) === "committed") this.#offer(id, metainfo ?? undefined);
    this.#measure();
  }

  #measure(): void {
    this.#init.metrics.cacheBytes.set(this.#cache.bytes + this.#cache.remains);
    this.#init.metrics.cacheBlobs.set(this.#cache.count);
    this.#init.metrics.leftoverBytes.set(this.#leftovers.bytes);
  }
}

const boundless = { free: Number.MAX_SAFE_INTEGER, total: Number.MAX_SAFE_INTEGER };
