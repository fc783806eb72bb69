/**
 * Fills a blob from its origin: what a seeder does for all hosts, and what a host does for itself when nobody else
 * delivers. One pass stores, hashes pieces and goes on with the digest of the whole.
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import type { BlobRead } from "../registry/blob-read.ts";
import { RegistryError } from "../registry/errors.ts";
import { BufferPool } from "./buffer-pool.ts";
import { BlobError, type BlobErrorCode } from "./errors.ts";
import { Layout } from "./layout.ts";
import type { RateLimiter } from "./limiter.ts";
import type { LiveBlob } from "./live-blob.ts";
import { sameHash } from "./piece-hashes.ts";

/** Pieces that may be on their way to the disk at once. */
const MAX_WRITES = 4;
/** How often progress is told at most, ms. */
const PROGRESS_MS = 250;

/** A blob at its origin, in the name of somebody. */
export interface Origin {
  /** For messages. */
  readonly name: string;
  /** Bytes [start, end) or to the end. @throws RegistryError */
  read(range: { start?: number; end?: number }, signal: AbortSignal): Promise<BlobRead>;
}

export interface OriginFillInit {
  readonly origin: Origin;
  readonly limiter: RateLimiter;
  /** Larger blobs are refused before anything is stored, bytes. */
  readonly maxSize: number;
  readonly signal: AbortSignal;
  /** Bytes the origin sent. */
  onBytes?(bytes: number): void;
}

/**
 * Reads what is missing and returns when the blob has all pieces. Other sources may store pieces meanwhile.
 * @throws BlobError; the blob itself is failed only by its own store and digest.
 */
export async function fillFromOrigin(blob: LiveBlob, init: OriginFillInit): Promise<void> {
  try {
    if (!blob.layout) await fillWhole(blob, init);
    for (let run = nextRun(blob); run; run = nextRun(blob)) await fillRun(blob, run, init);
  } catch (cause) {
    throw blob.error ?? asBlobError(cause, blob, init.origin.name);
  }
}

/** Reads from the first byte, which tells the size. */
async function fillWhole(blob: LiveBlob, init: OriginFillInit): Promise<void> {
  const read = await init.origin.read({}, init.signal);
  if (read.size === undefined) {
    read.close();
    throw new BlobError("unavailable", `${init.origin.name} does not tell the size of ${blob.digest}`);
  }
  if (read.size > init.maxSize) {
    read.close();
    throw new BlobError("too_large", `${blob.digest}: ${read.size} bytes are more than the cache may hold (${init.maxSize})`);
  }
  if (read.size === 0) {
    read.close();
    throw new BlobError("digest_mismatch", `${init.origin.name} sends nothing as ${blob.digest}`);
  }
  try {
    await blob.begin(new Layout(read.size));
  } catch (error) {
    read.close();
    throw error;
  }
  await consume(blob, read, { first: 0, end: blob.layout!.count }, init);
}

async function fillRun(blob: LiveBlob, run: Run, init: OriginFillInit): Promise<void> {
  const layout = blob.layout!;
  const whole = run.first === 0 && run.end === layout.count;
  const read = await init.origin.read(whole ? {} : { start: layout.start(run.first), end: layout.end(run.end - 1) }, init.signal);
  await consume(blob, read, run, init);
}

interface Run {
  readonly first: number;
  /** Behind the last piece. */
  readonly end: number;
}

/** The next missing pieces in a row: from where a reader waits, else from the front. */
function nextRun(blob: LiveBlob): Run | undefined {
  const have = blob.have!;
  const layout = blob.layout!;
  let from = 0;
  for (const demand of blob.demands) {
    if (demand.waitingSince !== undefined && demand.position < layout.size) from = layout.pieceAt(demand.position);
  }
  let first = have.firstMissing(from);
  if (first >= have.length) first = have.firstMissing(0);
  if (first >= have.length) return undefined;
  let end = first + 1;
  while (end < have.length && !have.has(end)) end += 1;
  return { first, end };
}

/** Cuts a body into pieces. */
async function consume(blob: LiveBlob, read: BlobRead, run: Run, init: OriginFillInit): Promise<void> {
  const cutter = new PieceCutter(blob, run.first);
  let toldAt = performance.now();
  let bytes = 0;
  for await (const chunk of read.body) {
    init.onBytes?.(chunk.length);
    bytes += chunk.length;
    await cutter.push(chunk);
    if (init.limiter.limited) await init.limiter.take(chunk.length, init.signal);
    const now = performance.now();
    if (now - toldAt >= PROGRESS_MS) {
      toldAt = now;
      blob.progress(blob.layout!.start(run.first) + bytes);
    }
  }
  await cutter.finish(run.end);
}

/** Assembles pieces out of chunks and stores them, a few at a time. */
class PieceCutter {
  readonly #blob: LiveBlob;
  readonly #layout: Layout;
  readonly #buffers: BufferPool;
  readonly #writes = new Set<Promise<void>>();
  #piece: number;
  #buffer: Uint8Array | undefined;
  #filled = 0;
  #hash: Hash = createHash("sha1");
  #failure: unknown;

  constructor(blob: LiveBlob, first: number) {
    this.#blob = blob;
    this.#layout = blob.layout!;
    this.#buffers = new BufferPool(this.#layout.pieceLength, MAX_WRITES + 1);
    this.#piece = first;
  }

  async push(chunk: Uint8Array): Promise<void> {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#piece >= this.#layout.count) throw new RegistryError("changed", `${this.#blob.digest}: the origin sends more than it said`);
      const length = this.#layout.length(this.#piece);
      this.#buffer ??= this.#buffers.take();
      const part = rest.subarray(0, Math.min(rest.length, length - this.#filled));
      this.#buffer.set(part, this.#filled);
      this.#hash.update(part);
      this.#filled += part.length;
      rest = rest.subarray(part.length);
      if (this.#filled === length) await this.#emit(this.#buffer.subarray(0, length));
    }
  }

  /** Waits for what is being written. @throws when the body ended before the run did. */
  async finish(end: number): Promise<void> {
    await Promise.all(this.#writes);
    if (this.#failure) throw this.#failure;
    if (this.#piece < end) throw new RegistryError("unavailable", `${this.#blob.digest}: the origin sends less than it said`);
  }

  async #emit(bytes: Uint8Array): Promise<void> {
    const piece = this.#piece;
    const sha1 = this.#hash.digest();
    this.#hash = createHash("sha1");
    this.#buffer = undefined;
    this.#filled = 0;
    this.#piece += 1;
    const known = this.#blob.hashes!.get(piece);
    if (known && !sameHash(known, sha1)) {
      throw new BlobError("digest_mismatch", `${this.#blob.digest}: the origin's piece ${piece} is not the seeder's`);
    }
    if (!known) this.#blob.addHashes(piece, sha1);
    const write: Promise<void> = this.#blob
      .store(piece, bytes, "origin")
      .then(
        () => {},
        (error: unknown) => {
          this.#failure ??= error;
        },
      )
      .finally(() => {
        this.#writes.delete(write);
        this.#buffers.give(bytes);
      });
    this.#writes.add(write);
    if (this.#writes.size >= MAX_WRITES) await Promise.race(this.#writes);
    if (this.#failure) throw this.#failure;
  }
}

const CODES: Readonly<Record<string, BlobErrorCode>> = {
  not_found: "not_found",
  unauthorized: "unauthorized",
  denied: "denied",
  aborted: "abandoned",
};

function asBlobError(cause: unknown, blob: LiveBlob, origin: string): BlobError {
  if (cause instanceof BlobError) return cause;
  if (!(cause instanceof RegistryError)) return BlobError.from(cause);
  return new BlobError(CODES[cause.code] ?? "unavailable", `${blob.digest} from ${origin}: ${cause.message}`, { cause, challenge: cause.challenge });
}
