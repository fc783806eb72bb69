/**
 * Fills a blob from its origin: what a seeder does for all hosts, and what a host does for itself when nobody else
 * delivers. One pass stores, hashes pieces and goes on with the digest of the whole.
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import type { BlobRead } from "../registry/blob-read.ts";
import { RegistryError } from "../registry/errors.ts";
import { Bitfield } from "./bitfield.ts";
import { BufferPool } from "./buffer-pool.ts";
import { BlobError, type BlobErrorCode } from "./errors.ts";
import { Layout } from "./layout.ts";
import type { RateLimiter } from "./limiter.ts";
import type { LiveBlob } from "./live-blob.ts";
import { sameHash } from "./piece-hashes.ts";
import { turnOf } from "./urgency.ts";

/** Pieces that may be on their way to the disk at once. */
const MAX_WRITES = 4;
/** And so many bytes of them, for each range that is read. */
const MAX_WRITE_BYTES = 4 * 1024 * 1024;
/** Piece buffers kept by a fill while none is needed. */
const MAX_BUFFERS = 8;
/** How often progress is told at most, ms. */
const PROGRESS_MS = 250;

/** A blob at its origin, in the name of somebody. */
export interface Origin {
  /** For messages. */
  readonly name: string;
  /** Waits until it may be read: what is missing is looked at afterwards. */
  prepare?(signal: AbortSignal): Promise<void>;
  /**
   * Bytes [start, end), or to the end of the blob.
   * @param range.wholeUnlessRanged An origin without Range sends all of the blob.
   * @throws RegistryError
   */
  read(range: { start?: number; end?: number; wholeUnlessRanged?: boolean }, signal: AbortSignal): Promise<BlobRead>;
}

export interface OriginFillInit {
  readonly origin: Origin;
  readonly limiter: RateLimiter;
  /** Larger blobs are refused before anything is stored, bytes. */
  readonly maxSize: number;
  readonly signal: AbortSignal;
  /** Bytes the origin sent. */
  onBytes?(bytes: number): void;
  /**
   * Whether others bring what is missing by now: looked at between two ranges, and what has been begun is finished then.
   * @default nobody does
   */
  othersDeliver?(): boolean;
}

/** A fill under way. */
interface Filling extends OriginFillInit {
  /** Of pieces that are being read, or are on their way to the disk: a slow origin's progress shows long before a piece. */
  readonly unfinished: { bytes: number };
  /** Once the layout is known. */
  buffers(): BufferPool;
}

/** Ranges read at once, where the origin honours Range. */
const STREAMS = 2;
/** Bytes of a range; larger for larger blobs, so that an origin sees some dozens of requests and not thousands. */
const SEGMENT = { least: 8 * 1024 * 1024, most: 64 * 1024 * 1024, share: 1 / 16 };

/**
 * Reads what is missing and returns when the blob has all pieces, or others deliver. They may store pieces meanwhile.
 * @throws BlobError; the blob itself is failed only by its own store and digest.
 */
export async function fillFromOrigin(blob: LiveBlob, init: OriginFillInit): Promise<void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([init.signal, stop.signal]);
  let pool: BufferPool | undefined;
  const buffers = () => {
    pool ??= new BufferPool(blob.layout!.pieceLength, MAX_BUFFERS);
    return pool;
  };
  const inner: Filling = { ...init, signal, buffers, unfinished: { bytes: 0 } };
  try {
    await init.origin.prepare?.(signal);
    let ranged = blob.layout ? await confirm(blob, inner) : await fillFirst(blob, inner);
    // Each round reads what is missing; a second one only where another source gave up what it had begun.
    while (!blob.have!.full && !init.othersDeliver?.()) {
      if (ranged) ranged = await fillRanges(blob, inner);
      else await fillRest(blob, inner);
      await blob.waitFor(() => blob.have!.full || firstMissing(blob) < blob.layout!.count, signal);
    }
  } catch (cause) {
    throw blob.error ?? asBlobError(cause, blob, init.origin.name);
  } finally {
    stop.abort();
  }
}

/**
 * What an earlier attempt left is taken up only when the origin gives this caller the blob, as it does here: another
 * caller may have brought it in. @returns Whether the origin honours Range, as far as it was asked.
 */
async function confirm(blob: LiveBlob, { origin, signal }: Filling): Promise<boolean> {
  const layout = blob.layout!;
  for (const piece of blob.reviving) {
    const start = layout.start(piece);
    const read = await origin.read({ start, end: start + 1 }, signal);
    read.close();
    blob.adopt();
    return read.ranged;
  }
  return true;
}

/** Reads from the first byte, which tells the size. @returns Whether the origin honours Range. */
async function fillFirst(blob: LiveBlob, init: Filling): Promise<boolean> {
  const { origin, maxSize, signal } = init;
  // Of a blob whose beginning may be here nothing but the size is asked: what came with it would be read twice.
  const { resumes } = blob;
  const read = await origin.read({ start: 0, end: resumes ? 1 : SEGMENT.least, wholeUnlessRanged: true }, signal);
  try {
    if (read.size === undefined) {
      throw new BlobError("unavailable", `${origin.name} does not tell the size of ${blob.digest}`);
    }
    if (read.size > maxSize) {
      throw new BlobError(
        "too_large",
        `${blob.digest}: ${read.size} bytes are more than the cache may hold (${maxSize})`,
      );
    }
    if (read.size === 0) throw new BlobError("digest_mismatch", `${origin.name} sends nothing as ${blob.digest}`);
    await blob.begin(new Layout(read.size));
    blob.adopt();
  } catch (error) {
    read.close();
    throw error;
  }
  if (read.ranged && (resumes || blob.isWriting(0))) {
    read.close();
    return true;
  }
  const layout = blob.layout!;
  const end = read.ranged ? Math.min(layout.count, SEGMENT.least / layout.pieceLength) : layout.count;
  const segments = new SegmentPlan(blob);
  segments.claim({ first: 0, end });
  const others = read.ranged ? STREAMS - 1 : 0;
  await Promise.all([
    consume(blob, read, { first: 0, end }, init),
    ...Array.from({ length: others }, () => fillSegments(blob, segments, init)),
  ]);
  return read.ranged && segments.ranged;
}

/** Reads what is missing in ranges; without Range the first of them goes on to the end. @returns Whether there is Range. */
async function fillRanges(blob: LiveBlob, init: Filling): Promise<boolean> {
  const plan = new SegmentPlan(blob);
  const run = plan.next();
  if (!run) return true;
  const read = await init.origin.read({ ...bytesOf(run, blob), wholeUnlessRanged: true }, init.signal);
  if (!read.ranged) {
    // A reader waits further on: what is before it comes on the same way, by a read that does not throw it away.
    if (firstMissing(blob) < run.first) read.close();
    else await consume(blob, read, { first: run.first, end: blob.layout!.count }, init);
    return false;
  }
  const rest = async () => {
    await consume(blob, read, run, init);
    await fillSegments(blob, plan, init);
  };
  const others = Array.from({ length: STREAMS - 1 }, () => fillSegments(blob, plan, init));
  await Promise.all([rest(), ...others]);
  return plan.ranged;
}

/** Reads from the first missing byte to the end of the blob, once: each read of an origin without Range is one of it all. */
async function fillRest(blob: LiveBlob, init: Filling): Promise<void> {
  const { count } = blob.layout!;
  const first = firstMissing(blob);
  if (first === count) return;
  const start = blob.layout!.start(first);
  await consume(blob, await init.origin.read({ start }, init.signal), { first, end: count }, init);
}

/** Reads one segment after the other, until others deliver or one is not ranged: all streams end then. */
async function fillSegments(blob: LiveBlob, plan: SegmentPlan, init: Filling): Promise<void> {
  while (plan.ranged && !init.othersDeliver?.()) {
    const run = plan.next();
    if (!run) return;
    const read = await init.origin.read(bytesOf(run, blob), init.signal);
    if (read.ranged) await consume(blob, read, run, init);
    else {
      plan.ranged = false;
      read.close();
    }
  }
}

/** All of the blob is asked for without an end, so that one that is longer shows. */
function bytesOf({ first, end }: Run, blob: LiveBlob): { start?: number; end?: number } {
  const layout = blob.layout!;
  const isWhole = first === 0 && end === layout.count;
  return isWhole ? {} : { start: layout.start(first), end: layout.end(end - 1) };
}

/** The first piece that is not here, be it on its way to the disk or being checked; how many there are when all are. */
function firstMissing(blob: LiveBlob): number {
  return blob.arrived!.firstMissing();
}

interface Run {
  readonly first: number;
  /** Behind the last piece. */
  readonly end: number;
}

/** Which missing pieces are read next: from where a reader waits, else from the front, each once. */
class SegmentPlan {
  /** No read of a segment has shown yet that the origin does not honour Range. */
  ranged = true;
  readonly #blob: LiveBlob;
  readonly #claimed: Bitfield;
  readonly #length: number;

  constructor(blob: LiveBlob) {
    const { size, pieceLength, count } = blob.layout!;
    const bytes = Math.min(SEGMENT.most, Math.max(SEGMENT.least, size * SEGMENT.share));
    this.#blob = blob;
    this.#claimed = new Bitfield(count);
    this.#length = Math.ceil(bytes / pieceLength);
  }

  claim(run: Run): void {
    for (let piece = run.first; piece < run.end; piece++) this.#claimed.add(piece);
  }

  next(): Run | undefined {
    for (const piece of this.#blob.arrived!) this.#claimed.add(piece);
    const first = this.#first();
    if (first >= this.#claimed.length) return undefined;
    let end = first + 1;
    while (end < this.#claimed.length && end - first < this.#length && !this.#claimed.has(end)) end += 1;
    this.claim({ first, end });
    return { first, end };
  }

  #first(): number {
    const layout = this.#blob.layout!;
    for (const { waitingSince, position } of this.#blob.demands) {
      if (waitingSince === undefined || position >= layout.size) continue;
      const first = this.#claimed.firstMissing(layout.pieceAt(position));
      if (first < layout.count) return first;
    }
    return this.#claimed.firstMissing();
  }
}

/** Cuts a body into pieces. */
async function consume(blob: LiveBlob, read: BlobRead, run: Run, init: Filling): Promise<void> {
  const cutter = new PieceCutter(blob, run.first, init);
  const turn = turnOf(blob, init.signal);
  let toldAt = performance.now();
  for await (const chunk of read.body) {
    init.onBytes?.(chunk.length);
    await cutter.push(chunk);
    if (init.limiter.limited) await init.limiter.take(chunk.length, turn);
    const now = performance.now();
    if (now - toldAt >= PROGRESS_MS) {
      toldAt = now;
      blob.progress(Math.min(blob.size!, blob.received + init.unfinished.bytes));
    }
  }
  await cutter.finish(run.end);
}

/** Assembles pieces out of chunks and stores them, a few at a time; those that are here are passed over. */
class PieceCutter {
  readonly #blob: LiveBlob;
  readonly #layout: Layout;
  readonly #buffers: BufferPool;
  readonly #unfinished: { bytes: number };
  readonly #writes = new Set<Promise<void>>();
  readonly #maxWrites: number;
  #piece: number;
  #buffer: Uint8Array | undefined;
  #filled = 0;
  #isHeld = false;
  #hash: Hash = createHash("sha1");
  #failure: unknown;

  constructor(blob: LiveBlob, first: number, { buffers, unfinished }: Filling) {
    this.#blob = blob;
    this.#layout = blob.layout!;
    this.#buffers = buffers();
    this.#unfinished = unfinished;
    this.#maxWrites = Math.max(1, Math.min(MAX_WRITES, MAX_WRITE_BYTES / this.#layout.pieceLength));
    this.#piece = first;
  }

  async push(chunk: Uint8Array): Promise<void> {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#piece >= this.#layout.count)
        throw new RegistryError("changed", `${this.#blob.digest}: the origin sends more than it said`);
      const length = this.#layout.length(this.#piece);
      const part = rest.subarray(0, Math.min(rest.length, length - this.#filled));
      rest = rest.subarray(part.length);
      if (this.#filled === 0) this.#isHeld = this.#blob.have!.has(this.#piece);
      if (this.#isHeld) this.#pass(part, length);
      else await this.#take(part, length);
    }
  }

  #pass(part: Uint8Array, length: number): void {
    this.#filled += part.length;
    if (this.#filled < length) return;
    this.#filled = 0;
    this.#piece += 1;
  }

  async #take(part: Uint8Array, length: number): Promise<void> {
    this.#buffer ??= this.#buffers.take();
    this.#buffer.set(part, this.#filled);
    this.#hash.update(part);
    this.#filled += part.length;
    this.#unfinished.bytes += part.length;
    if (this.#filled === length) await this.#emit(this.#buffer.subarray(0, length));
  }

  /** Waits for what is being written. @throws when the body ended before the run did. */
  async finish(end: number): Promise<void> {
    await Promise.all(this.#writes);
    if (this.#failure) throw this.#failure;
    if (this.#piece < end)
      throw new RegistryError("unavailable", `${this.#blob.digest}: the origin sends less than it said`);
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
      throw new BlobError("other_list", `${this.#blob.digest}: the origin's piece ${piece} is not the seeder's`);
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
        this.#unfinished.bytes -= bytes.length;
        this.#buffers.give(bytes);
      });
    this.#writes.add(write);
    if (this.#writes.size >= this.#maxWrites) await Promise.race(this.#writes);
    if (this.#failure) throw this.#failure;
  }
}

const CODES: Readonly<Record<string, BlobErrorCode>> = {
  not_found: "not_found",
  unauthorized: "unauthorized",
  denied: "denied",
  aborted: "abandoned",
};

/** What an origin did or said, as the blob's error. */
export function asBlobError(cause: unknown, blob: LiveBlob, origin: string): BlobError {
  if (cause instanceof BlobError) return cause;
  if (!(cause instanceof RegistryError)) return BlobError.from(cause);
  return new BlobError(CODES[cause.code] ?? "unavailable", `${blob.digest} from ${origin}: ${cause.message}`, {
    cause,
    challenge: cause.challenge,
  });
}
