/**
 * The blobs of one host: a storage and a cache around live blobs. Proxy and seeder have one each; what differs is how
 * a blob is fetched.
 * @module
 */
import { BlobCache, CacheError, type Handle } from "../cache/index.ts";
import type { Logger } from "../log/log.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { type Digest, parseDigest } from "../registry/digest.ts";
import { BlobNotFoundError, type Storage } from "../storage/index.ts";
import { openBlobFile } from "./blob-file.ts";
import { BlobError } from "./errors.ts";
import { LiveBlob } from "./live-blob.ts";
import { decodeMetainfo, encodeMetainfo, type Metainfo } from "./metainfo.ts";

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
  /** A blob that others may have is here to stay, or leaves. */
  onOffer?(digest: string): void;
  onLeave?(digest: string): void;
}

/** Begins to fill a blob; must see to it that it is filled or fails, in the end. The signal aborts when nobody wants it. */
export type Fill = (blob: LiveBlob, signal: AbortSignal) => void;

/** See the module. `start` before use. */
export class BlobStore implements AsyncDisposable {
  readonly #init: BlobStoreInit;
  readonly #cache: BlobCache<LiveBlob>;
  /** Committed blobs that may be offered; what a private blob of an earlier process is stays unknown until asked for. */
  readonly #offered = new Set<string>();

  constructor(init: BlobStoreInit) {
    this.#init = init;
    this.#cache = new BlobCache<LiveBlob>({
      limitSize: init.limitSize,
      minFree: init.minFree,
      freeSpace: () => init.storage.freeSpace(),
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
      if (await this.#storedAsPublic(id)) this.#offer(id);
    }
    this.#measure();
  }

  /** Digests of committed blobs that may be offered to others. */
  *offered(): Generator<string> {
    for (const id of this.#offered) yield digestOf(id).toString();
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
    try {
      return await this.#cache.acquire(digest.hex, async () => this.#create(digest, fill), options);
    } catch (cause) {
      if (cause instanceof CacheError || !(cause instanceof BlobError)) throw BlobError.from(cause, "unavailable");
      throw cause;
    }
  }

  /** The blob if it is here or arriving; begins nothing. */
  async peek(digest: Digest, options: { signal?: AbortSignal } = {}): Promise<Handle<LiveBlob> | undefined> {
    return await this.#cache.peek(digest.hex, options);
  }

  /** Notes that an anonymous caller may read the blob: from now on it is offered to others. */
  async publish(blob: LiveBlob): Promise<void> {
    if (blob.isPublic) return;
    blob.isPublic = true;
    if (!blob.committed) return;
    this.#offer(blob.id);
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
    fill(blob, gone.signal);
    return blob;
  }

  async #commit(blob: LiveBlob): Promise<void> {
    const { storage } = this.#init;
    const metainfo = blob.metainfo();
    if (!metainfo) throw new BlobError("storage", `${blob.digest}: committed before its metainfo is complete`);
    await storage.createWithMetaInfo(blob.id, encodeMetainfo(metainfo));
    await storage.upload(blob.id, { path: storage.getPartialPath(blob.id) });
    // Published while it was being stored.
    if (blob.isPublic && !metainfo.isPublic)
      await storage.createWithMetaInfo(blob.id, encodeMetainfo(blob.metainfo()!));
    if (blob.isPublic) this.#offer(blob.id);
  }

  async #open(id: string): Promise<LiveBlob> {
    const { storage } = this.#init;
    const metainfo = await this.#readMetainfo(id);
    const stat = await storage.stat(id);
    if (metainfo.id !== id || stat.size !== metainfo.layout.size) throw new BlobNotFoundError(id);
    return LiveBlob.committed({
      digest: digestOf(id),
      metainfo,
      file: await openBlobFile(storage.getFilePath(id), "r"),
    });
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

  async #storedAsPublic(id: string): Promise<boolean> {
    try {
      return decodeMetainfo(await this.#init.storage.readMetaInfo(id)).isPublic === true;
    } catch {
      return false;
    }
  }

  #offer(id: string): void {
    if (this.#offered.has(id)) return;
    this.#offered.add(id);
    this.#init.onOffer?.(digestOf(id).toString());
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

/** The digest behind an id: its length tells the algorithm. */
function digestOf(id: string): Digest {
  return parseDigest(`${id.length === 128 ? "sha512" : "sha256"}:${id}`);
}
