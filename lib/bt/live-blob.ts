/**
 * A blob on this host, from the moment somebody asks for it: its layout, piece hashes and verified pieces as they
 * become known, and the file they are in. Download, readers and uploader meet here and know nothing of each other.
 * @module
 */
import type { Cacheable } from "../cache/cacheable.ts";
import type { Digest } from "../registry/digest.ts";
import { withReason } from "../storage/disk-trouble.ts";
import { Bitfield } from "./bitfield.ts";
import type { BlobFile } from "./blob-file.ts";
import { BlobError, type BlobErrorCode } from "./errors.ts";
import type { Layout } from "./layout.ts";
import type { Metainfo } from "./metainfo.ts";
import { PartialFile, type PartialPlace } from "./partial-file.ts";
import { PieceHashes } from "./piece-hashes.ts";
import { PrefixDigest } from "./prefix-digest.ts";
import { Revival } from "./revival.ts";

/** Where bytes came from. */
export type SourceKind = "cache" | "peer" | "seeder" | "origin" | "wire";

/** Failures after which pieces that were verified are as good as before. */
const KEEPS_PIECES: readonly BlobErrorCode[] = ["unavailable", "abandoned"];

const KINDS: readonly SourceKind[] = ["cache", "peer", "seeder", "origin", "wire"];

/** What listeners hear of. */
export type BlobChange =
  | { readonly type: "layout" }
  | { readonly type: "hashes"; readonly first: number; readonly count: number }
  | { readonly type: "piece"; readonly piece: number }
  | { readonly type: "progress"; readonly bytes: number }
  | { readonly type: "demand" }
  | { readonly type: "verified" }
  | { readonly type: "committed" }
  | { readonly type: "removed" }
  | { readonly type: "failed"; readonly error: BlobError };

/** A reader's place in the blob: what the download hurries for. */
export interface Demand {
  /** First byte not yet delivered. */
  position: number;
  /** Behind the last byte wanted. */
  readonly end: number;
  /** Monotonic ms since which the reader waits; undefined while it does not. */
  waitingSince: number | undefined;
}

/** What a blob is made of. */
export interface LiveBlobInit {
  readonly digest: Digest;
  /** Where it fills: the file is made when the size is known. With a journal a blob that is given up leaves its pieces. */
  readonly place: PartialPlace;
  /** Bytes that an earlier attempt left. @default 0 */
  readonly leftover?: number;
  /** So many bytes of an earlier attempt count again. */
  onRevived?(bytes: number): void;
  /** Whether there is room for a blob of so many bytes; asked once, before its file is made. */
  admits?(size: number): Promise<boolean>;
  /** Stores the verified file for good. */
  commit(blob: LiveBlob): Promise<void>;
  /** Called once, when nobody wants the blob any more. */
  onAbandon?(): void;
  /** The file of a committed blob could not be read. */
  onReadFailure?(cause: unknown): void;
}

/** See the module. */
export class LiveBlob implements Cacheable {
  readonly digest: Digest;
  /** Resolves with the size when committed; rejects with a BlobError. */
  readonly done: Promise<number>;
  readonly demands = new Set<Demand>();
  /** Whether an anonymous caller may read it: only then it is offered to others. */
  isPublic = false;
  #layout: Layout | undefined;
  #hashes: PieceHashes | undefined;
  #have: Bitfield | undefined;
  #file: BlobFile | undefined;
  #prefix: PrefixDigest | undefined;
  /** The same as `#file`, of a blob that arrives. */
  #partial: PartialFile | undefined;
  /** Pieces of an earlier attempt that are not decided yet. */
  #revival: Revival | undefined;
  #removed = false;
  #leftover = 0;
  #sources: Uint8Array | undefined;
  #state: "arriving" | "verified" | "committed" | "failed" = "arriving";
  #error: BlobError | undefined;
  #beginning: { readonly layout: Layout; readonly opened: Promise<void> } | undefined;
  /** Never changed but replaced: what is told goes to those who listened when it happened. */
  #listeners: readonly ((change: BlobChange) => void)[] = [];
  readonly #init: LiveBlobInit;
  readonly #resolve: (size: number) => void;
  readonly #reject: (error: BlobError) => void;

  constructor(init: LiveBlobInit) {
    this.#init = init;
    this.digest = init.digest;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    promise.catch(() => {});
    this.done = promise;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** A blob that was committed earlier. The caller has opened its file; the blob closes it. */
  static committed(
    init: { digest: Digest; metainfo: Metainfo; file: BlobFile } & Pick<LiveBlobInit, "onReadFailure">,
  ): LiveBlob {
    const blob = new LiveBlob({ ...init, place: { path: "" }, commit: async () => {} });
    blob.#layout = init.metainfo.layout;
    blob.#hashes = new PieceHashes(init.metainfo.layout.count, init.metainfo.pieces);
    blob.#have = new Bitfield(init.metainfo.layout.count);
    blob.#have.addAll();
    blob.#sources = new Uint8Array(init.metainfo.layout.count);
    blob.#file = init.file;
    blob.#state = "committed";
    blob.isPublic = init.metainfo.isPublic === true;
    blob.#settle();
    return blob;
  }

  get id(): string {
    return this.digest.hex;
  }
  get size(): number | undefined {
    return this.#layout?.size;
  }
  /** Bytes of verified pieces, and of those that an earlier attempt left and that are being checked. */
  get received(): number {
    const [layout, have, revival] = [this.#layout, this.#have, this.#revival];
    const count = (have?.count ?? 0) + (revival?.size ?? 0);
    if (!layout || !have || count === 0) return 0;
    const last = layout.count - 1;
    const hasLast = have.has(last) || revival?.has(last);
    return count * layout.pieceLength - (hasLast ? layout.pieceLength - layout.length(last) : 0);
  }
  get layout(): Layout | undefined {
    return this.#layout;
  }
  /** Known piece hashes; undefined before the layout is known. */
  get hashes(): PieceHashes | undefined {
    return this.#hashes;
  }
  /** Verified pieces; undefined before the layout is known. Do not change it. */
  get have(): Bitfield | undefined {
    return this.#have;
  }
  /** Whether the digest of the whole agrees. */
  get verified(): boolean {
    return this.#state === "verified" || this.#state === "committed";
  }
  get committed(): boolean {
    return this.#state === "committed";
  }
  get error(): BlobError | undefined {
    return this.#error;
  }

  /** It has left this host's cache: it is not offered any more, what is under way goes on. */
  get removed(): boolean {
    return this.#removed;
  }
  /** Whether an earlier attempt left something that may be taken up. */
  get resumes(): boolean {
    return (this.#init.leftover ?? 0) > 0;
  }
  /** Bytes, about, that a blob which failed leaves to the next attempt. */
  get leftover(): number {
    return this.#leftover;
  }

  /** Whether the piece is on its way to the disk, or an earlier attempt left it there and it is being checked. */
  isWriting(piece: number): boolean {
    return this.#partial?.writing.has(piece) === true || this.#revival?.has(piece) === true;
  }

  /** Pieces of an earlier attempt that wait for somebody's word or are being checked. */
  get reviving(): Iterable<number> {
    return this.#revival?.pieces() ?? [];
  }

  /** Verified pieces, and those that are being checked. */
  get covered(): Bitfield | undefined {
    if (!this.#revival?.size) return this.#have;
    const covered = this.#have?.clone();
    for (const piece of this.#revival.pieces()) covered?.add(piece);
    return covered;
  }

  /** The same with those on their way to the disk: what need not be fetched. */
  get arrived(): Bitfield | undefined {
    const { covered } = this;
    if (!this.#partial?.writing.size) return covered;
    const arrived = covered?.clone();
    for (const piece of this.#partial.writing.keys()) arrived?.add(piece);
    return arrived;
  }

  /** Whether every piece is verified, be it still on its way to the disk: nobody has to bring anything. */
  get isWhole(): boolean {
    const have = this.#have;
    return have !== undefined && have.count + (this.#partial?.writing.size ?? 0) === have.length;
  }

  /**
   * Takes up what an earlier attempt left, also where no metainfo confirms it: its origin has just begun to give the blob
   * to this caller. It still has to agree with the digest of the whole.
   */
  adopt(): void {
    this.#revival?.adopt();
  }

  /** The source a piece came from. */
  sourceOf(piece: number): SourceKind {
    return KINDS[this.#sources?.[piece] ?? 0] ?? "cache";
  }

  /** The finished metainfo; undefined while a hash is missing. */
  metainfo(): Metainfo | undefined {
    if (!this.#layout || !this.#hashes?.complete) return undefined;
    return { id: this.id, layout: this.#layout, pieces: this.#hashes.bytes, isPublic: this.isPublic };
  }

  /** @returns A function that ends the subscription. */
  subscribe(listener: (change: BlobChange) => void): () => void {
    this.#listeners = [...this.#listeners, listener];
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }

  /**
   * Fixes size and piece length and makes the file. Told again, it must agree.
   * @throws BlobError other_list when it does not; storage when the file cannot be made.
   */
  async begin(layout: Layout): Promise<void> {
    if (this.#error) throw this.#error;
    const known = this.#layout ?? this.#beginning?.layout;
    if (known && !known.equals(layout)) {
      throw new BlobError("other_list", `${this.digest}: one source says ${known.size} bytes, another ${layout.size}`);
    }
    if (this.#layout) return;
    this.#beginning ??= { layout, opened: this.#makeFile(layout) };
    try {
      await this.#beginning.opened;
    } catch (cause) {
      const isDisk = !(cause instanceof BlobError);
      await this.fail(isDisk ? this.#diskError(`${this.#init.place.path} cannot be written`, cause) : cause);
    }
    if (this.#error) throw this.#error;
  }

  /** The layout shows only once there is a file for pieces to go to. */
  async #makeFile(layout: Layout): Promise<void> {
    if ((await this.#init.admits?.(layout.size)) === false) {
      throw new BlobError(
        "too_large",
        `${this.digest}: there is no room for its ${layout.size} bytes here (limitSize, minFree); it goes past the cache`,
      );
    }
    const file = await PartialFile.open(this.#init.place, layout);
    this.#file = file;
    this.#partial = file;
    if (this.#error) return;
    this.#layout = layout;
    this.#hashes = new PieceHashes(layout.count);
    this.#have = new Bitfield(layout.count);
    this.#sources = new Uint8Array(layout.count);
    this.#prefix = new PrefixDigest({ digest: this.digest, layout, have: this.#have, file });
    if (file.claims.size > 0) {
      this.#revival = new Revival({
        claims: file.claims,
        layout,
        file,
        onPiece: (piece, bytes, sha1) => this.#revive(piece, bytes, sha1),
        onDrop: () => this.#tell({ type: "demand" }),
      });
    }
    this.#tell({ type: "layout" });
  }

  /**
   * Takes piece hashes that a seeder told, 20 bytes each. A later word stands instead of an earlier one.
   * @throws BlobError digest_mismatch when it is about a piece that is here; other_list for nonsense.
   */
  addHashes(first: number, sha1s: Uint8Array): void {
    const hashes = this.#hashes;
    const count = sha1s.length / 20;
    if (!hashes || !Number.isInteger(count) || first < 0 || first + count > hashes.known.length) {
      throw new BlobError("other_list", `${this.digest}: piece hashes ${first}..${first + count} are out of range`);
    }
    for (let index = 0; index < count; index++) {
      const piece = first + index;
      const sha1 = sha1s.subarray(index * 20, index * 20 + 20);
      if (!hashes.set(piece, sha1)) {
        if (this.#have?.has(piece) || this.#partial?.writing.has(piece))
          throw new BlobError("digest_mismatch", `${this.digest}: the seeder says now that piece ${piece} is wrong`);
        // What is said last is nearer to the end, where the seeder knows the digest.
        hashes.replace(piece, sha1);
      }
      this.#revival?.onHash(piece, sha1);
    }
    if (count > 0) this.#tell({ type: "hashes", first, count });
  }

  /** Tells listeners that the seeder's read of the origin goes on. */
  progress(bytes: number): void {
    this.#tell({ type: "progress", bytes });
  }

  /**
   * Stores a piece whose hash was checked (or computed) by the caller, who may use the buffer again afterwards.
   * @returns Whether it was new.
   * @throws BlobError storage when the disk refuses; the blob has failed then.
   */
  async store(piece: number, bytes: Uint8Array, source: SourceKind): Promise<boolean> {
    if (this.#error) throw this.#error;
    const layout = this.#layout;
    const have = this.#have;
    const file = this.#partial;
    if (!layout || !have || !file) throw new BlobError("storage", `${this.digest}: a piece before the layout`);
    if (have.has(piece) || file.writing.has(piece)) return false;
    if (bytes.length !== layout.length(piece)) throw new RangeError(`piece ${piece} has ${bytes.length} bytes`);
    try {
      await file.writePiece(piece, bytes);
    } catch (cause) {
      const error = this.#diskError(`writing to ${this.#init.place.path} failed`, cause);
      await this.fail(error);
      throw error;
    }
    if (this.#error) throw this.#error;
    // It is here: what an earlier attempt left of it is written over.
    this.#revival?.drop(piece);
    const sha1 = this.#hashes?.get(piece);
    if (sha1) file.note(piece, sha1);
    this.#land(piece, bytes, source);
    return true;
  }

  /** The piece is in the file and verified. */
  #land(piece: number, bytes: Uint8Array, source: SourceKind): void {
    this.#prefix!.offer(piece, bytes);
    this.#sources![piece] = KINDS.indexOf(source);
    this.#have!.add(piece);
    this.#tell({ type: "piece", piece });
    this.#advance(this.#prefix!);
  }

  /** A piece of an earlier attempt has the hash that was noted and, where that is known, that of the metainfo. */
  #revive(piece: number, bytes: Uint8Array, sha1: Uint8Array): void {
    if (this.#state !== "arriving" || this.#have!.has(piece) || this.#partial!.writing.has(piece)) return;
    const isKnown = this.#hashes!.known.has(piece);
    if (!this.#hashes!.set(piece, sha1)) {
      this.#tell({ type: "demand" });
      return;
    }
    if (!isKnown) this.#tell({ type: "hashes", first: piece, count: 1 });
    this.#init.onRevived?.(bytes.length);
    this.#tell({ type: "progress", bytes: this.received });
    this.#land(piece, bytes, "cache");
  }

  /**
   * Fills `target` with verified bytes from `position`; the caller knows the pieces are there.
   * @throws BlobError storage.
   */
  async read(target: Uint8Array, position: number): Promise<void> {
    if (this.#error) throw this.#error;
    if (!this.#file) throw new BlobError("storage", `${this.digest} has no file`);
    try {
      await this.#file.read(target, position);
    } catch (cause) {
      if (this.committed) this.#init.onReadFailure?.(cause);
      throw this.#error ?? this.#diskError("reading failed", cause);
    }
  }

  /** Resolves once `condition` holds. @throws The blob's error, or the signal's reason. */
  async waitFor(condition: () => boolean, signal?: AbortSignal): Promise<void> {
    if (condition()) return;
    signal?.throwIfAborted();
    if (this.#error) throw this.#error;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const unsubscribe = this.subscribe((change) => {
      if (condition()) resolve();
      else if (change.type === "failed") reject(change.error);
    });
    const onAbort = () => reject(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await promise;
    } finally {
      unsubscribe();
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Registers a reader. @returns A function that takes it away. */
  demand(demand: Demand): () => void {
    this.demands.add(demand);
    this.#tell({ type: "demand" });
    return () => this.demands.delete(demand);
  }

  /** Tells the download that a reader began to wait. */
  hurry(): void {
    this.#tell({ type: "demand" });
  }

  /**
   * It has left this host's cache. Nobody is offered it any more; who reads it reads on.
   * @param error The disk has damaged it: then nobody reads on, and who was reading goes on elsewhere.
   */
  withdraw(error?: BlobError): void {
    if (this.#removed) return;
    this.#removed = true;
    this.#error ??= error;
    this.#tell(error ? { type: "failed", error } : { type: "removed" });
  }

  /**
   * Ends it: readers and download get the error, `done` rejects then. The pieces stay for the next attempt when it was
   * given up or nobody delivered; else the partial file goes. Bytes that may still be right stay readable by
   * `readDelivered` until the blob is closed. A blob whose digest agreed is right whatever a source says later: it is
   * left to its commit.
   */
  async fail(error: BlobError): Promise<void> {
    if (this.#state === "arriving") await this.#fail(error);
  }

  async #fail(error: BlobError): Promise<void> {
    this.#error = error;
    this.#state = "failed";
    this.#tell({ type: "failed", error });
    // A file that is being made would otherwise appear after its removal, in the way of the next attempt.
    await this.#beginning?.opened.catch(() => {});
    const left = this.received;
    this.#revival?.stop();
    await this.#partial?.written();
    if (error.code === "digest_mismatch") await this.close().catch(() => {});
    this.#leftover = await this.#leave(left > 0 && KEEPS_PIECES.includes(error.code) ? left : 0);
    this.#settle(error);
  }

  /** @param bytes What is worth being left; nothing: all goes. @returns What is left. */
  async #leave(bytes: number): Promise<number> {
    // What an earlier attempt left was not looked at: it is as good as it was.
    if (!this.#beginning) return this.#init.leftover ?? 0;
    if (bytes > 0 && (await this.#partial?.keep())) return bytes;
    await (this.#partial?.discard() ?? PartialFile.discard(this.#init.place));
    return 0;
  }

  /** Like `read`, also after the blob failed: for a reader that goes on elsewhere and has to know what it passed on. */
  async readDelivered(target: Uint8Array, position: number): Promise<void> {
    if (!this.#file) throw new BlobError("storage", `${this.digest} has no file any more`);
    await this.#file.read(target, position);
  }

  abandon(): void {
    if (this.#state !== "arriving") return;
    this.#init.onAbandon?.();
    void this.fail(new BlobError("abandoned", `${this.digest}: nobody asks for it any more`));
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  #advance(prefix: PrefixDigest): void {
    if (!prefix.complete && !prefix.isBehind) return;
    prefix
      .advance()
      .then(() => (prefix.complete && this.#state === "arriving" ? this.#finish(prefix) : undefined))
      .catch((cause) => this.fail(BlobError.from(cause, "storage")));
  }

  async #finish(prefix: PrefixDigest): Promise<void> {
    if (!prefix.agrees()) {
      await this.fail(new BlobError("digest_mismatch", `${this.digest}: what arrived has another digest`));
      return;
    }
    this.#state = "verified";
    this.#tell({ type: "verified" });
    try {
      await this.#init.commit(this);
    } catch (cause) {
      await this.#fail(this.#diskError("committing it failed", cause));
      return;
    }
    await this.#partial?.published();
    this.#state = "committed";
    this.#settle();
    this.#tell({ type: "committed" });
  }

  #diskError(what: string, cause: unknown): BlobError {
    return new BlobError("storage", `${this.digest}: ${withReason(what, cause)}`, { cause });
  }

  #settle(error?: BlobError): void {
    if (error) this.#reject(error);
    else this.#resolve(this.#layout?.size ?? 0);
  }

  #tell(change: BlobChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}
