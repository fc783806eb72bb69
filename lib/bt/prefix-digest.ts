/**
 * The digest of a blob along its growing prefix, so that it is known as soon as the last piece is there.
 * @module
 */
import type { Hash } from "node:crypto";
import { createDigestHash, type Digest } from "../registry/digest.ts";
import type { Bitfield } from "./bitfield.ts";
import type { BlobFile } from "./blob-file.ts";
import { BufferPool } from "./buffer-pool.ts";
import type { Layout } from "./layout.ts";

const READ = 512 * 1024;
/** Read into by all blobs that arrive. */
const buffers = new BufferPool(READ, 4);

/** Hashes pieces in order, whatever order they come in; what came early is read back from the file. */
export class PrefixDigest {
  readonly #digest: Digest;
  readonly #layout: Layout;
  readonly #have: Bitfield;
  readonly #file: BlobFile;
  readonly #hash: Hash;
  #next = 0;
  #running: Promise<void> | undefined;
  /** It will look for the next piece once more. */
  #isReading = false;

  constructor(init: { digest: Digest; layout: Layout; have: Bitfield; file: BlobFile }) {
    this.#digest = init.digest;
    this.#layout = init.layout;
    this.#have = init.have;
    this.#file = init.file;
    this.#hash = createDigestHash(init.digest);
  }

  /** Whether all pieces went in. */
  get complete(): boolean {
    return this.#next === this.#layout.count;
  }

  /** Whether `advance` has something to do: the next piece is there, and nobody is about to read it. */
  get isBehind(): boolean {
    return !this.#isReading && !this.complete && this.#have.has(this.#next);
  }

  /** Takes a piece from memory when it is the next; the caller's buffer may be used again afterwards. */
  offer(piece: number, bytes: Uint8Array): void {
    if (this.#running || piece !== this.#next) return;
    this.#hash.update(bytes);
    this.#next += 1;
  }

  /** Goes on with what the file holds. Resolves when the next piece is missing or all are in. */
  async advance(): Promise<void> {
    while (this.#running) await this.#running;
    if (this.complete || !this.#have.has(this.#next)) return;
    this.#running = this.#readOn();
    try {
      await this.#running;
    } finally {
      this.#running = undefined;
    }
  }

  /** Whether the blob is what its digest says. Call once, when complete. */
  agrees(): boolean {
    return this.#hash.digest("hex") === this.#digest.hex;
  }

  async #readOn(): Promise<void> {
    const buffer = buffers.take();
    this.#isReading = true;
    try {
      while (!this.complete && this.#have.has(this.#next)) {
        const end = this.#layout.end(this.#next);
        for (let position = this.#layout.start(this.#next); position < end; position += buffer.length) {
          const part = buffer.subarray(0, Math.min(buffer.length, end - position));
          await this.#file.read(part, position);
          this.#hash.update(part);
        }
        this.#next += 1;
      }
    } finally {
      this.#isReading = false;
      buffers.give(buffer);
    }
  }
}
