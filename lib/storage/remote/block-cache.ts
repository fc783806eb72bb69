/**
 * @module
 * Pieces on their way from a storage elsewhere to whoever reads them: few enough that memory has a bound, kept a moment
 * because readers take a piece in several steps. One for all blobs of a host.
 */

/** Buffers that wait for their next piece: giving them to the allocator and asking again would cost memory, not save it. */
const maxFree = 4;

/** The bytes of a piece. Whoever got it gives it back. */
export interface Block {
  readonly bytes: Uint8Array;
  /** Gives it back; the bytes may be another piece's afterwards. */
  release(): void;
}

interface Entry {
  bytes: Uint8Array;
  users: number;
  cached: boolean;
}

/** See the module. */
export class BlockCache {
  readonly #budget: number;
  readonly #entries = new Map<string, Entry>();
  readonly #free: Uint8Array[] = [];
  #bytes = 0;

  /** @param budget Bytes of the pieces kept that nobody reads. */
  constructor(budget: number) {
    this.#budget = budget;
  }

  /** A buffer of at least so many bytes to read a piece into. Goes to `add` or `discard`. */
  buffer(length: number): Uint8Array {
    const index = this.#free.findIndex((free) => free.length >= length && free.length <= length * 2);
    if (index >= 0) return this.#free.splice(index, 1)[0]!;
    return new Uint8Array(length);
  }

  /** Gives back a buffer that was not filled. */
  discard(buffer: Uint8Array): void {
    if (this.#free.length < maxFree) this.#free.push(buffer);
  }

  /** A piece that was kept. */
  take(key: string): Block | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return this.#block(entry, entry.bytes.length);
  }

  /** Adds a filled buffer. @returns As many blocks as will be read; with 0 it is kept for those to come. */
  add(key: string, { buffer, length, readers }: { buffer: Uint8Array; length: number; readers: number }): Block[] {
    const entry: Entry = { bytes: buffer.subarray(0, length), users: 0, cached: true };
    const blocks = Array.from({ length: readers }, () => this.#block(entry, length));
    this.#drop(key);
    this.#entries.set(key, entry);
    this.#bytes += buffer.byteLength;
    this.#trim();
    return blocks;
  }

  /** Forgets all pieces that nobody reads. */
  clear(): void {
    for (const key of this.#entries.keys()) this.#drop(key);
    this.#free.length = 0;
  }

  #block(entry: Entry, length: number): Block {
    entry.users++;
    let released = false;
    return {
      bytes: entry.bytes.subarray(0, length),
      release: () => {
        if (released) return;
        released = true;
        entry.users--;
        this.#recycle(entry);
      },
    };
  }

  #trim(): void {
    for (const key of this.#entries.keys()) {
      if (this.#bytes <= this.#budget) return;
      this.#drop(key);
    }
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes.buffer.byteLength;
    entry.cached = false;
    this.#recycle(entry);
  }

  #recycle(entry: Entry): void {
    if (entry.cached || entry.users > 0) return;
    const { buffer } = entry.bytes;
    this.discard(new Uint8Array(buffer));
  }
}
