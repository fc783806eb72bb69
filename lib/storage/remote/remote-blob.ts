/**
 * @module
 * Random access to a blob that is stored elsewhere: pieces in demand come from the hot tier, all else by ranged reads
 * with a bounded read-ahead. Every piece that comes from elsewhere is verified before anybody sees it.
 */

import type { ObjectStore } from "../object-store.ts";
import { BlobNotFoundError, type BlobReader, type BlobShape, StorageError } from "../storage.ts";
import type { Block, BlockCache } from "./block-cache.ts";
import type { Gate } from "./gate.ts";
import type { HotTier } from "./hot-tier.ts";

/** One request brings at most so many bytes, or one piece. */
const readAhead = 8 * 1024 * 1024;
/** A request that breaks is sent again this often without a byte in between. */
const retries = 3;

/** What the blobs of a host share. */
export interface RemoteBlobs {
  readonly objects: ObjectStore;
  readonly hot: HotTier;
  readonly blocks: BlockCache;
  /** Requests under way. */
  readonly gate: Gate;
}

interface Awaited {
  readonly waiting: PromiseWithResolvers<Block>[];
}

/** See the module. */
export class RemoteBlob implements BlobReader {
  readonly #id: string;
  readonly #key: string;
  readonly #shape: BlobShape;
  readonly #shared: RemoteBlobs;
  /** Pieces that are being read. */
  readonly #reading = new Map<number, Awaited>();
  /** The last piece somebody asked for: the one behind it makes a sequence. */
  #last = -2;
  #closed = false;

  constructor(id: string, init: { key: string; shape: BlobShape; shared: RemoteBlobs }) {
    this.#id = id;
    this.#key = init.key;
    this.#shape = init.shape;
    this.#shared = init.shared;
  }

  async read(target: Uint8Array, position: number): Promise<void> {
    const { size, pieceLength } = this.#shape;
    if (position < 0 || position + target.length > size) {
      throw new StorageError(
        "invalid_range",
        `bytes [${position}, ${position + target.length}) are not within blob ${this.#id}`,
      );
    }
    for (let filled = 0; filled < target.length; ) {
      const at = position + filled;
      const piece = Math.floor(at / pieceLength);
      const offset = at - piece * pieceLength;
      const part = target.subarray(filled, filled + Math.min(target.length - filled, pieceLength - offset));
      if (!(await this.#shared.hot.read(this.#id, piece, { target: part, position: at }))) {
        const block = await this.#piece(piece);
        part.set(block.bytes.subarray(offset, offset + part.length));
        block.release();
      }
      filled += part.length;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  async #piece(piece: number): Promise<Block> {
    const kept = this.#shared.blocks.take(this.#name(piece));
    if (kept) return kept;
    const waiter = Promise.withResolvers<Block>();
    const reading = this.#reading.get(piece);
    if (reading) reading.waiting.push(waiter);
    else this.#begin(piece, waiter);
    return await waiter.promise;
  }

  #begin(first: number, waiter: PromiseWithResolvers<Block>): void {
    const { size, pieceLength } = this.#shape;
    const count = Math.ceil(size / pieceLength);
    const sequence = first === this.#last + 1 || this.#reading.has(first - 1);
    const most = sequence ? Math.max(1, Math.floor(readAhead / pieceLength)) : 1;
    let end = first + 1;
    while (end < count && end - first < most && !this.#isNear(end)) end++;
    for (let piece = first; piece < end; piece++)
      this.#reading.set(piece, { waiting: piece === first ? [waiter] : [] });
    this.#last = end - 1;
    this.#shared.gate
      .run(() => this.#readPieces(first, end))
      .catch((error) => {
        for (let piece = first; piece < end; piece++) {
          const awaited = this.#reading.get(piece);
          if (!awaited) continue;
          this.#reading.delete(piece);
          for (const { reject } of awaited.waiting) reject(error);
        }
      });
  }

  #isNear(piece: number): boolean {
    return this.#reading.has(piece) || this.#shared.hot.has(this.#id, piece);
  }

  /** Reads pieces `[first, end)` in order, each handed on as soon as it is whole. */
  async #readPieces(first: number, end: number): Promise<void> {
    let piece = first;
    for (let failures = 0; ; ) {
      const before = piece;
      try {
        await this.#request(piece, end, () => {
          piece++;
          // Read ahead for nobody: the rest is left when the blob is closed.
          if (this.#closed && !this.#wanted(piece, end)) throw new StorageError("io", `blob ${this.#id} was closed`);
        });
        return;
      } catch (error) {
        if (error instanceof BlobNotFoundError || this.#closed) throw error;
        if (piece >= end) return;
        failures = piece > before ? 1 : failures + 1;
        if (failures >= retries || (error instanceof StorageError && error.code === "digest_mismatch")) throw error;
      }
    }
  }

  #wanted(first: number, end: number): boolean {
    for (let piece = first; piece < end; piece++) if ((this.#reading.get(piece)?.waiting.length ?? 0) > 0) return true;
    return false;
  }

  async #request(first: number, end: number, done: () => void): Promise<void> {
    const { objects, blocks } = this.#shared;
    const { size, pieceLength } = this.#shape;
    const stop = Math.min(size, end * pieceLength);
    const read = await objects.get(this.#key, { start: first * pieceLength, end: stop });
    if (!read) throw new BlobNotFoundError(this.#id);
    let piece = first;
    let filled = 0;
    let buffer: Uint8Array | undefined;
    try {
      for await (const chunk of read.body) {
        for (let rest = chunk; rest.length > 0; ) {
          if (piece >= end)
            throw new StorageError("io", `${objects.name} sends more of blob ${this.#id} than was asked for`);
          const length = Math.min(size, (piece + 1) * pieceLength) - piece * pieceLength;
          buffer ??= blocks.buffer(length);
          const part = rest.subarray(0, length - filled);
          buffer.set(part, filled);
          filled += part.length;
          rest = rest.subarray(part.length);
          if (filled < length) continue;
          const whole = buffer;
          buffer = undefined;
          filled = 0;
          await this.#arrived(piece++, whole, length);
          done();
        }
      }
    } finally {
      if (buffer) blocks.discard(buffer);
    }
    if (piece < end) throw new StorageError("io", `${objects.name} ended blob ${this.#id} early`);
  }

  async #arrived(piece: number, buffer: Uint8Array, length: number): Promise<void> {
    const { blocks, hot, objects } = this.#shared;
    const bytes = buffer.subarray(0, length);
    if (!this.#shape.verify(piece, bytes)) {
      blocks.discard(buffer);
      throw new StorageError(
        "digest_mismatch",
        `${objects.name} has other bytes as piece ${piece} of blob ${this.#id}`,
      );
    }
    const awaited = this.#reading.get(piece);
    this.#reading.delete(piece);
    const waiting = awaited?.waiting ?? [];
    const [own, ...given] = blocks.add(this.#name(piece), { buffer, length, readers: waiting.length + 1 });
    waiting.forEach(({ resolve }, index) => {
      resolve(given[index]!);
    });
    try {
      await hot.store(this.#id, this.#shape, { piece, bytes });
    } finally {
      own!.release();
    }
  }

  #name(piece: number): string {
    return `${this.#id}/${piece}`;
  }
}
