/**
 * The blobs of one host: a storage and a cache around live blobs. Proxy and seeder have one each; what differs is how
 * a blob is fetched.
 * @module
 */
import { createHash } from "node:crypto";
import { BlobCache, type Handle } from "../cache/index.ts";
import type { Logger } from "../log/log.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { type Digest, parseDigest } from "../registry/digest.ts";
import { BlobNotFoundError, type Storage } from "../storage/index.ts";
import { type BlobFile, openBlobFile, readOnlyFile } from "./blob-file.ts";
import { BlobError } from "./errors.ts";
import { LiveBlob } from "./live-blob.ts";
import { decodeMetainfo, encodeMetainfo, type Metainfo } from "./metainfo.ts";
import { sameHash } from "./piece-hashes.ts";

/** A blob that a shared storage did not have is not looked for again so soon, unless it is to be fetched, ms. */
const MISSING_MS = 3000;
const MAX_MISSING = 1000;

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

  constructor(init: BlobStoreInit) {
    this.#init = init;
    this.#cache = new BlobCache<LiveBlob>({
      limitSize: init.limitSize,
      minFree: init.minFree,
      // What is stored elsewhere takes no room of this disk: the hot tier sees to that by itself.
      freeSpace: async () => (init.storage.remote ? boundless : await init.storage.freeSpace()),
      open: (id) => this.#open(id),
      remove: (id) => init.storage.delete(id),
      onCommit: () => this.#measure(),
      onEvict: (id) => this.#withdraw(id),
      log: init.log,
      ...(init.abandonAfterMs === undefined ? {} : { abandonAfterMs: init.abandonAfterMs }),
    });
  }

  /** Takes over what an earlier process committed and sweeps what it left half-done. */
  async start(): Promise<void> {
    const { storage } = this.#init;
    for await (const { id } of storage.listPartial()) await storage.deletePartial(id);
    await this.#cache.load(storage.list());
    for (const id of this.#cache.ids()) {
      // Only seeders store elsewhere; each metainfo is looked at before its blob is served.
      const metainfo = storage.remote ? undefined : await this.#storedMetainfo(id);
      if (storage.remote || (metainfo && this.#isShared(metainfo))) this.#offer(id, metainfo);
    }
    this.#measure();
  }

  /** Digests of committed blobs that may be offered to others. */
  *offered(): Generator<string> {
    for (const id of this.#offered.keys()) yield digestOf(id).toString();
  }

  has(digest: Digest): "committed" | "active" | undefined {
    return this.#cache.has(digest.hex);
  }

  /** Whether a blob of so many bytes could be kept. */
  fits(size: number): boolean {
    return this.#cache.fits(size);
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
        async () => (await this.#stored(digest)) ?? this.#create(digest, fill),
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
    try {
      await this.#init.storage.createWithMetaInfo(blob.id, encodeMetainfo(blob.metainfo()!));
    } catch (error) {
      // Only the next process would have known by it.
      this.#init.log.warn("could not note that a blob is public", { blob: blob.id, error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cache.close();
    await this.#init.storage.close();
  }

  #create(digest: Digest, fill: Fill): LiveBlob {
    const { storage, metrics } = this.#init;
    const gone = new AbortController();
    const blob = new LiveBlob({
      digest,
      path: storage.getPartialPath(digest.hex),
      commit: (blob) => this.#commit(blob),
      onAbandon: () => gone.abort(new BlobError("abandoned", `${digest}: nobody asks for it any more`)),
    });
    metrics.activeDownloads.inc();
    const done = () => metrics.activeDownloads.dec();
    blob.done.then(done, done);
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
      await storage.createWithMetaInfo(blob.id, encodeMetainfo(metainfo));
      await storage.upload(blob.id, { path }, { verify: true });
    }
    // Published while it was being stored.
    if (blob.isPublic && !metainfo.isPublic)
      await storage.createWithMetaInfo(blob.id, encodeMetainfo(blob.metainfo()!));
    if (this.#isShared(blob)) this.#offer(blob.id, blob.metainfo());
  }

  async #open(id: string): Promise<LiveBlob> {
    const { storage } = this.#init;
    const metainfo = await this.#readMetainfo(id);
    const stat = await storage.stat(id);
    if (metainfo.id !== id || stat.size !== metainfo.layout.size) throw new BlobNotFoundError(id);
    return LiveBlob.committed({
      digest: digestOf(id),
      metainfo,
      file: await this.#openFile(metainfo),
    });
  }

  async #openFile({ id, layout, pieces }: Metainfo): Promise<BlobFile> {
    const { storage } = this.#init;
    if (!storage.remote) return await openBlobFile(storage.getFilePath(id), "r");
    const { size, pieceLength } = layout;
    const verify = (piece: number, bytes: Uint8Array) =>
      sameHash(createHash("sha1").update(bytes).digest(), pieces.subarray(piece * 20, piece * 20 + 20));
    return readOnlyFile(storage.remote.open(id, { size, pieceLength, verify }));
  }

  /** @throws BlobNotFoundError also for one that cannot be read: the blob is fetched anew then. */
  async #readMetainfo(id: string): Promise<Metainfo> {
    const bytes = await this.#init.storage.readMetaInfo(id);
    try {
      return decodeMetainfo(bytes);
    } catch (error) {
      this.#init.log.warn("the stored metainfo of a blob is damaged", { blob: id, error });
      throw new BlobNotFoundError(id);
    }
  }

  async #storedMetainfo(id: string): Promise<Metainfo | undefined> {
    try {
      return decodeMetainfo(await this.#init.storage.readMetaInfo(id));
    } catch {
      return undefined;
    }
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

  #withdraw(id: string): void {
    if (this.#offered.delete(id)) this.#init.onLeave?.(digestOf(id).toString());
    queueMicrotask(() => this.#measure());
  }

  #measure(): void {
    this.#init.metrics.cacheBytes.set(this.#cache.bytes);
    this.#init.metrics.cacheBlobs.set(this.#cache.count);
  }
}

const boundless = { free: Number.MAX_SAFE_INTEGER, total: Number.MAX_SAFE_INTEGER };

/** The digest behind an id: its length tells the algorithm. */
function digestOf(id: string): Digest {
  return parseDigest(`${id.length === 128 ? "sha512" : "sha256"}:${id}`);
}
