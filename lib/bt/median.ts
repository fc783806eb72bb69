/**
 * A median over the latest values.
 * @module
 */

/** Keeps the last `window` values. */
export class RunningMedian {
  readonly #values: number[] = [];
  readonly #window: number;
  #at = 0;
  #cached: number | undefined;

  constructor(window = 31) {
    this.#window = window;
  }

  add(value: number): void {
    this.#values[this.#at] = value;
    this.#at = (this.#at + 1) % this.#window;
    this.#cached = undefined;
  }

  /** Undefined before the first value. */
  get value(): number | undefined {
    if (this.#cached === undefined && this.#values.length > 0) {
      const sorted = [...this.#values].sort((a, b) => a - b);
      this.#cached = sorted[sorted.length >> 1];
    }
    return this.#cached;
  }
}
