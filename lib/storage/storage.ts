/**
 * @module
 * What every storage backend does: keeps whole blobs and their metainfo under the hex of the blob's digest.
 *
 * All methods are safe under any interleaving of callers in one process. A reader sees a whole blob or none:
 * `upload` publishes atomically, and a download that has begun survives a `delete`.
 */

import type { ObjectStore } from "./object-store.ts";
import type { OnDiskTrouble } from "./root-claim.ts";

/** How large a blob is and when it was touched. */
export interface BlobStat {
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the epoch at which the blob was last written. */
  readonly modifiedMs: number;
  /** Milliseconds since the epoch of the last read, as far as the backend knows it (file systems round this). */
  readonly lastUsedMs?: number;
  /** Bytes that it takes on this host's disk, where that is known: fewer than `size` for a file with holes. */
  readonly diskBytes?: number;
}

/** One line of a listing. */
export interface BlobEntry extends BlobStat {
  /** Hex of the digest. */
  readonly id: string;
}

/** Bytes `[start, end)` of a blob. */
export interface ByteRange {
  /** First byte. @default 0 */
  readonly start?: number;
  /** One past the last byte. @default the size of the blob */
  readonly end?: number;
}

/** Options of methods that wait. */
export interface AbortOptions {
  readonly signal?: AbortSignal;
}

/** Options of `upload`. */
export interface UploadOptions extends AbortOptions {
  /**
   * A backend that copies the bytes hashes them on their way and refuses, before anything appears, those that are not
   * what `id` says. One that takes over the file as it is (the caller has verified it) need not. @default false
   */
  readonly verify?: boolean;
}

/**
 * The bytes of a blob on their way in: a stream (Web, Node or generator), or a finished file that the storage takes
 * over: after success nothing is left at `path`, after a failure the file is untouched.
 */
export type BlobSource = AsyncIterable<Uint8Array> | { readonly path: string };

/**
 * A storage backend. `id` is the lower-case hex of a SHA-256 or SHA-512 digest everywhere; any other name is refused
 * with `StorageError` "invalid_name" before anything is touched.
 */
export interface Storage extends AsyncDisposable {
  /**
   * Stores the metainfo of a blob atomically; an earlier one is replaced. The blob itself need not be there yet.
   *
   * @param metainfo bencoded BEP 3 dictionary
   */
  createWithMetaInfo(id: string, metainfo: Uint8Array): Promise<void>;

  /**
   * Reads what `createWithMetaInfo` stored.
   *
   * @throws BlobNotFoundError no metainfo of this blob is stored
   */
  readMetaInfo(id: string): Promise<Uint8Array>;

  /** @throws BlobNotFoundError the blob is not stored (its metainfo or a partial file may be) */
  stat(id: string): Promise<BlobStat>;

  /**
   * Stores a blob. It appears whole and durable, or not at all: a source that fails or a signal that aborts leaves
   * nothing behind. Of concurrent uploads of one id the last to finish stays. The content is hashed only
   * on demand, see `verify`.
   *
   * @throws StorageError "no_space", "io" or "digest_mismatch"; the source's own error, or the signal's reason, unchanged
   */
  upload(id: string, source: BlobSource, options?: UploadOptions): Promise<void>;

  /**
   * Opens a blob for reading, in chunks of at most 1 MiB that are read when asked for. The caller reads the stream to
   * its end or cancels it; either closes the file. A blob deleted meanwhile is still read to its end.
   *
   * @throws BlobNotFoundError the blob is not stored
   * @throws StorageError "invalid_range" unless 0 <= start <= end <= size
   */
  download(id: string, range?: ByteRange): Promise<ReadableStream<Uint8Array>>;

  /**
   * Removes a blob and its metainfo. A partial file stays: it belongs to whoever fetches.
   *
   * @throws BlobNotFoundError there was neither
   */
  delete(id: string): Promise<void>;

  /**
   * Lists stored blobs whose id begins with `prefix`, in no particular order. Blobs that come or go while the listing
   * runs may or may not be in it; all others are in it exactly once.
   *
   * @param prefix up to 128 lower-case hex digits; empty for all
   */
  list(prefix?: string): AsyncIterable<BlobEntry>;

  /** Lists partial files left by earlier fetches, for whoever resumes or discards them. */
  listPartial(): AsyncIterable<BlobEntry>;

  /** Removes a partial file and its journal; none is fine. */
  deletePartial(id: string): Promise<void>;

  /**
   * Notes when a blob was used, for the order of the listing after a restart. Cheap, not durable at once; a blob that is
   * not on this host's disk is left alone.
   *
   * @param usedMs milliseconds since the epoch
   */
  touch(id: string, usedMs: number): Promise<void>;

  /** Lists ids of which metainfo is stored, where blobs may get lost beside it: on this host's disk. */
  listMetaInfo?(): AsyncIterable<string>;

  /** Where the blob is, or would be, on this host's disk. */
  getFilePath(id: string): string;

  /** Where the metainfo is, or would be, on this host's disk. */
  getTorrentFilePath(id: string): string;

  /** Where a fetch writes the blob while it arrives; `upload(id, {path})` publishes it from there by a rename. */
  getPartialPath(id: string): string;

  /** Where that fetch notes what it wrote; the storage sweeps a journal whose partial file is gone. */
  getPartialJournalPath(id: string): string;

  getDataDir(): string;
  getTorrentDir(): string;

  /** Bytes of the disk under the root: free for this user, and in all. */
  freeSpace(): Promise<DiskSpace>;

  /**
   * Only where blobs are not files of this host's disk: `getFilePath` then names no more than a copy that may be there,
   * and blobs are read by `remote.open`.
   */
  readonly remote?: RemoteAccess;

  /** Gives up the root, so that another process may open it. Downloads under way are not cut. */
  close(): Promise<void>;
}

/** What a storage elsewhere (a bucket) can do beyond the interface. `rootDirectory` is its bounded hot tier. */
export interface RemoteAccess {
  /** Where the blobs are: also a place for small records that several seeders share. */
  readonly objects: ObjectStore;

  /**
   * Opens a stored blob for random access: what is in the hot tier comes from there, all else by ranged reads with a
   * bounded read-ahead. Nothing is asked before the first read. The caller closes it.
   */
  open(id: string, shape: BlobShape): BlobReader;

  /** Takes a finished file, which somebody else has stored or stores, over into the hot tier. */
  keep(id: string, path: string): Promise<void>;

  /** Frees room for a blob of so many bytes that is about to arrive on this host's disk. */
  makeRoom(bytes: number): Promise<void>;

  /** Whole copies in the hot tier, which are read without being verified again. Use of them is not counted as such. */
  readonly copies: Copies;

  /** A link for an hour by which anybody reads the blob past this host; undefined where none is allowed. */
  link(id: string): Promise<URL | undefined>;
}

/** This host's whole copies of what is stored elsewhere. */
export interface Copies {
  ids(): Iterable<string>;

  /** Bytes of a copy; undefined where there is no whole one. */
  size(id: string): number | undefined;

  /**
   * Gives the copy up, or what pieces there are. What is stored elsewhere stays.
   *
   * @param options.damaged never to be read again, whatever the disk says
   * @throws StorageError when the disk refuses
   */
  remove(id: string, options?: { damaged?: boolean }): Promise<void>;

  /** Gives up what nobody has read for so long, ms; pieces as well. */
  dropUnused(ttlMs: number): void;
}

/** How a blob is cut, and how a piece is known to be right. */
export interface BlobShape {
  /** Bytes. */
  readonly size: number;
  /** Bytes of each piece but the last. */
  readonly pieceLength: number;
  /** Whether these are the bytes of the piece. */
  verify(piece: number, bytes: Uint8Array): boolean;
}

/** Random access to a stored blob. */
export interface BlobReader {
  /** Fills `target` from `position`. @throws StorageError "io"; BlobNotFoundError when the blob has gone */
  read(target: Uint8Array, position: number): Promise<void>;
  close(): Promise<void>;
}

/** Bytes of a disk. */
export interface DiskSpace {
  readonly free: number;
  readonly total: number;
}

/** What a backend needs to open. */
export interface StorageOptions {
  /** Directory that holds everything; made when missing. One process at a time. */
  readonly rootDirectory: string;
  /** With it a disk that takes no writes is no reason not to open; see `RootClaim`. */
  readonly onTrouble?: OnDiskTrouble;
}

/** The blob (or its metainfo) is not stored. */
export class BlobNotFoundError extends Error {
  override readonly name = "BlobNotFoundError";
  readonly id: string;

  constructor(id: string, options?: ErrorOptions) {
    super(`blob ${id} is not stored`, options);
    this.id = id;
  }
}

/** Why a storage could not do what it was asked. */
export type StorageErrorCode =
  /** The disk or the quota is full. */
  | "no_space"
  /** Anything else the disk said; see `cause`. */
  | "io"
  /** Not the hex of a digest. */
  | "invalid_name"
  /** The bytes are not those that the blob's id names. */
  | "digest_mismatch"
  /** The range asked for is not inside the blob. */
  | "invalid_range"
  /** Another process works on this root. */
  | "locked";

/** A storage failed; `code` says how, `cause` keeps the system's error. */
export class StorageError extends Error {
  override readonly name = "StorageError";
  readonly code: StorageErrorCode;

  constructor(code: StorageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const idPattern = /^(?:[0-9a-f]{64}|[0-9a-f]{128})$/;
const prefixPattern = /^[0-9a-f]{0,128}$/;

/** Whether a text is the hex of a SHA-256 or SHA-512 digest, and so may name a file. */
export function isBlobId(text: string): boolean {
  return typeof text === "string" && idPattern.test(text);
}

/**
 * Lets a blob id through unchanged.
 *
 * @throws StorageError "invalid_name"
 */
export function checkBlobId(id: string): string {
  if (isBlobId(id)) return id;
  throw new StorageError("invalid_name", `not the hex of a SHA-256 or SHA-512 digest: ${quote(id)}`);
}

/**
 * Lets a listing prefix through unchanged.
 *
 * @throws StorageError "invalid_name"
 */
export function checkPrefix(prefix: string): string {
  if (typeof prefix === "string" && prefixPattern.test(prefix)) return prefix;
  throw new StorageError("invalid_name", `not the beginning of a digest's hex: ${quote(prefix)}`);
}

/** Hostile names end up in logs: escaped and short. */
function quote(text: unknown): string {
  return JSON.stringify(String(text).slice(0, 80));
}
