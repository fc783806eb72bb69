/**
 * Piece buffers that are used again: a swarm at line rate would otherwise leave a piece of garbage per piece.
 * @module
 */

/** A bounded pool of equal buffers. */
export class BufferPool {
  readonly #free: Uint8Array[] = [];
  readonly #length: number;
  readonly #keep: number;

  /**
   * @param length Bytes of each buffer.
   * @param keep How many unused ones are kept.
   */
  constructor(length: number, keep = 32) {
    this.#length = length;
    this.#keep = keep;
  }

  /** A buffer with unspecified content. */
  take(): Uint8Array {
    return this.#free.pop() ?? new Uint8Array(this.#length);
  }

  /** Gives a buffer back; nobody may use it afterwards. */
  give(buffer: Uint8Array): void {
    const whole = buffer.byteLength === this.#length ? buffer : new Uint8Array(buffer.buffer);
    if (whole.byteLength === this.#length && this.#free.length < this.#keep) this.#free.push(whole);
  }
}
