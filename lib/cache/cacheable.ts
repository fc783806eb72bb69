/**
 * @module
 * What the blob cache keeps, and what it hands out.
 */

import type { Logger } from "../log/log.ts";

/** A blob that is arriving or has arrived. Implemented by whoever fetches; the cache never reads its bytes. */
export interface Cacheable {
  /** Bytes of the whole blob, once known. While it arrives they count as reserved. */
  readonly size: number | undefined;

  /** Bytes that are on disk already; the rest of `size` still has to find room. @default 0 */
  readonly received?: number;

  /**
   * Resolves with the size when the blob is committed; rejects when the fetch failed for good. It must settle soon
   * after `abandon()`: the next fetch of this blob waits for it. Not looked at on blobs that `open` returned.
   */
  readonly done: Promise<number>;

  /**
   * Releases file handles. Called once, when the blob is neither pinned nor in flight any more. After a failed fetch
   * that some callers still held, the next fetch may have begun already: leave its files alone here.
   */
  close(): Promise<void>;

  /** The last caller left and the grace time ended, or the cache closes: stop fetching. */
  abandon(): void;
}

/** Where a caller's blob came from: was committed, joined a fetch under way, or began the fetch. */
export type HandleSource = "cache" | "joined" | "fetched";

/** A pinned blob: not closed, and not chosen for eviction, until released. */
export interface Handle<B> extends Disposable {
  readonly blob: B;
  readonly source: HandleSource;

  /** Lets go of the blob. Further calls do nothing. */
  release(): void;
}

/** A timer that can be stopped. */
export interface Timer {
  cancel(): void;
}

/** Calls `run` once after `ms`, unless cancelled. Injected so that tests own the clock. */
export type SetTimer = (run: () => void, ms: number) => Timer;

/** Why a committed blob leaves. */
export type LeaveReason =
  /** Others needed its place under `limitSize`. */
  | "limit"
  /** The disk was below its free-space watermark. */
  | "disk"
  /** Nobody used it for longer than `ttlMs`. */
  | "unused"
  /** Somebody called `remove`. */
  | "removed"
  /** It was found missing or damaged when it was to be opened. */
  | "missing";

/** Files that take room and are of less use than any blob. */
export interface Scraps {
  /** On the disk. */
  readonly bytes: number;
  /** Gives up files of at least so many bytes, or all of them. @returns bytes given up */
  evict(bytes: number): number;
  /** Resolves when what was given up is off the disk. */
  removed(): Promise<void>;
}

/** What a cache needs, and how it is bounded. */
export interface BlobCacheInit<B extends Cacheable> {
  /** Bytes of committed and arriving blobs that the cache tries to stay under (pinned blobs may exceed it). */
  readonly limitSize: number;

  /** Bytes that shall stay free on a disk of `total` bytes. */
  readonly minFree: (total: number) => number;

  /** Bytes free and in all on the disk that holds the blobs. */
  freeSpace(): Promise<{ free: number; total: number }>;

  /**
   * Opens a committed blob. A `BlobNotFoundError` means it is missing or damaged: the entry is dropped, what is left
   * of it removed, and the blob fetched anew. Any other error goes to the caller, and the entry stays.
   */
  open(id: string, size: number): Promise<B>;

  /**
   * Removes a blob from the disk; `BlobNotFoundError` counts as success. After any other error a blob that was to make
   * room stays in the cache; what has to leave whatever the disk says is tried again, its bytes counted until then.
   */
  remove(id: string): Promise<void>;

  /** A blob was committed (not called for those that `load` brings). */
  onCommit?(id: string, size: number): void;

  /**
   * A committed blob leaves. Called before its file is removed.
   *
   * @param leave.blob the blob, where it is open: who reads it may be told
   */
  onEvict?(id: string, leave: { readonly reason: LeaveReason; readonly blob: B | undefined }): void;

  /** A blob of which `onEvict` told stays: the disk refused to remove it. */
  onStay?(id: string): void;

  /** What takes room beside the blobs, and goes before any of them. */
  readonly scraps?: Scraps;

  /** A committed blob that nobody used for so long leaves, ms. @default never */
  readonly ttlMs?: number | undefined;

  /**
   * Notes for the next process when a blob was used; told some time afterwards, once for many uses, and lost without
   * harm. Not told: the order of use does not survive a restart.
   *
   * @param agoMs since the last use
   */
  touch?(id: string, agoMs: number): Promise<void>;

  /** Milliseconds between notes of what was used. @default 60000 */
  readonly touchIntervalMs?: number;

  /** Monotonic ms. @default performance.now */
  readonly now?: () => number;

  /** Milliseconds since the epoch: how long ago an earlier process used a blob. @default Date.now */
  readonly wallNow?: () => number;

  /** Milliseconds that a fetch goes on without any caller. @default 60000 */
  readonly abandonAfterMs?: number;

  /** Milliseconds that a caller waits for an abandoned fetch or a removal of its blob to end. @default 5000 */
  readonly settleTimeoutMs?: number;

  /** Milliseconds between looks at the free space; 0 looks only when blobs begin to arrive or commit. @default 5000 */
  readonly checkIntervalMs?: number;

  /** Most blobs got from `open` that stay open while nobody holds them, since reopening costs. @default 64 */
  readonly keepOpen?: number;

  readonly log?: Pick<Logger, "debug" | "warn">;

  /** @default a timer that does not keep the process alive */
  readonly setTimer?: SetTimer;
}

/** Why the cache itself refused. */
export type CacheErrorCode =
  /** `close()` was called. */
  | "closed"
  /** Nobody waited for the fetch any more: the reason of its signal. */
  | "abandoned"
  /** The blob's previous life (an abandoned fetch, a removal) did not end in time; go to the origin. */
  | "busy";

/** The cache could not serve; a fetch's own error is passed on as it is instead. */
export class CacheError extends Error {
  override readonly name = "CacheError";
  readonly code: CacheErrorCode;

  constructor(code: CacheErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
