/**
 * A median over the latest values.
 * @module
 */

/** Keeps the last `window` values, also in order: reading the median costs nothing, adding a value one move through them. */
export class RunningMedian {
  readonly #values: number[] = [];
  readonly #sorted: number[] = [];
  readonly #window: number;
  #at = 0;

  constructor(window = 31) {
    this.#window = window;
  }

  add(value: number): void {
    const sorted = this.#sorted;
    let place = sorted.length;
    if (place === this.#window) {
      place = sorted.indexOf(this.#values[this.#at]!);
      while (place + 1 < sorted.length && sorted[place + 1]! < value) sorted[place] = sorted[++place]!;
    }
    while (place > 0 && sorted[place - 1]! > value) sorted[place] = sorted[--place]!;
    sorted[place] = value;
    this.#values[this.#at] = value;
    this.#at = (this.#at + 1) % this.#window;
  }

  /** Undefined before the first value. */
  get value(): number | undefined {
    return this.#sorted[this.#sorted.length >> 1];
  }
}
