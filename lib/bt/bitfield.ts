/**
 * A set of piece indices, in the bit order of BEP 3: the high bit of the first byte is piece 0.
 * @module
 */

/** A fixed-size set of indices 0..length-1. */
export class Bitfield {
  readonly length: number;
  readonly bytes: Uint8Array;
  #count = 0;

  /**
   * @param length Number of pieces.
   * @param bytes Initial bits, copied; spare bits must be zero.
   * @throws RangeError when the bytes do not fit the length or a spare bit is set.
   */
  constructor(length: number, bytes?: Uint8Array) {
    this.length = length;
    this.bytes = new Uint8Array(Math.ceil(length / 8));
    if (!bytes) return;
    if (bytes.length !== this.bytes.length) {
      throw new RangeError(`a bitfield of ${length} pieces has ${this.bytes.length} bytes, not ${bytes.length}`);
    }
    this.bytes.set(bytes);
    const spare = this.bytes.length * 8 - length;
    if (spare > 0 && (this.bytes[this.bytes.length - 1]! & ((1 << spare) - 1)) !== 0) {
      throw new RangeError("a spare bit of the bitfield is set");
    }
    for (const byte of this.bytes) this.#count += popCount(byte);
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
    return new Bitfield(this.length, this.bytes);
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

function popCount(byte: number): number {
  let bits = byte;
  let count = 0;
  while (bits) {
    bits &= bits - 1;
    count += 1;
  }
  return count;
}
