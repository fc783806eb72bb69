/**
 * A set of piece indices, in the bit order of BEP 3: the high bit of the first byte is piece 0.
 * @module
 */

/** A fixed-size set of indices 0..length-1. */
export class Bitfield {
  readonly length: number;
  readonly bytes: Uint8Array;
  /**
   * The same bits, 32 a word: for loops over whole sets. Spare bits are zero. `inPieceOrder` of a word has its first
   * piece in the highest bit. Read only: writing here leaves `count` behind.
   */
  readonly words: Int32Array;
  #count = 0;

  /**
   * @param length Number of pieces.
   * @param bytes Initial bits, copied; spare bits must be zero.
   * @throws RangeError when the bytes do not fit the length or a spare bit is set.
   */
  constructor(length: number, bytes?: Uint8Array) {
    this.length = length;
    this.words = new Int32Array(Math.ceil(length / 32));
    this.bytes = new Uint8Array(this.words.buffer, 0, Math.ceil(length / 8));
    if (!bytes) return;
    if (bytes.length !== this.bytes.length) {
      throw new RangeError(`a bitfield of ${length} pieces has ${this.bytes.length} bytes, not ${bytes.length}`);
    }
    this.bytes.set(bytes);
    const spare = this.bytes.length * 8 - length;
    if (spare > 0 && (this.bytes[this.bytes.length - 1]! & ((1 << spare) - 1)) !== 0) {
      throw new RangeError("a spare bit of the bitfield is set");
    }
    for (let index = 0; index < this.words.length; index++) this.#count += popCount(this.words[index]!);
  }

  /** How many are in the set. */
  get count(): number {
    return this.#count;
  }

  /** Whether all are in the set. */
  get full(): boolean {
    return this.#count === this.length;
  }

  has(index: number): boolean {
    return index >= 0 && index < this.length && (this.bytes[index >> 3]! & (0x80 >> (index & 7))) !== 0;
  }

  /** Adds an index. @returns Whether it was new. */
  add(index: number): boolean {
    if (index < 0 || index >= this.length || this.has(index)) return false;
    this.bytes[index >> 3]! |= 0x80 >> (index & 7);
    this.#count += 1;
    return true;
  }

  /** Removes an index. @returns Whether it was there. */
  delete(index: number): boolean {
    if (!this.has(index)) return false;
    this.bytes[index >> 3]! &= ~(0x80 >> (index & 7));
    this.#count -= 1;
    return true;
  }

  addAll(): void {
    for (let index = 0; index < this.length; index++) this.add(index);
  }

  clear(): void {
    this.bytes.fill(0);
    this.#count = 0;
  }

  clone(): Bitfield {
    const copy = new Bitfield(this.length);
    copy.words.set(this.words);
    copy.#count = this.#count;
    return copy;
  }

  /** Whether an index is in this set and not in another of the same length. */
  hasBeyond(other: Bitfield): boolean {
    for (let index = 0; index < this.words.length; index++) {
      if ((this.words[index]! & ~other.words[index]!) !== 0) return true;
    }
    return false;
  }

  /** The lowest index at or above `from` that is not in the set; `length` when there is none. */
  firstMissing(from = 0): number {
    let index = from;
    while (index < this.length) {
      if ((index & 7) === 0 && this.bytes[index >> 3] === 0xff) index += 8;
      else if (this.has(index)) index += 1;
      else return index;
    }
    return this.length;
  }

  *[Symbol.iterator](): Generator<number> {
    for (let index = 0; index < this.length; index++) if (this.has(index)) yield index;
  }
}

const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** @returns A word of `Bitfield.words` with its first piece in the highest bit, whatever this machine's byte order. */
export function inPieceOrder(word: number): number {
  if (!littleEndian) return word;
  return (word >>> 24) | ((word >>> 8) & 0xff00) | ((word << 8) & 0xff0000) | (word << 24);
}

function popCount(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
