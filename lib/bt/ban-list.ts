/**
 * Hosts that sent bytes which failed their own hash.
 * @module
 */

/** Remembers addresses for a while; bounded. */
export class BanList {
  readonly #until = new Map<string, number>();
  readonly #banMs: number;
  readonly #max: number;
  readonly #now: () => number;

  constructor({
    banMs = 600_000,
    max = 1000,
    now = () => performance.now(),
  }: { banMs?: number; max?: number; now?: () => number } = {}) {
    this.#banMs = banMs;
    this.#max = max;
    this.#now = now;
  }

  add(name: string): void {
    this.#until.delete(name);
    this.#until.set(name, this.#now() + this.#banMs);
    for (const oldest of this.#until.keys()) {
      if (this.#until.size <= this.#max) break;
      this.#until.delete(oldest);
    }
  }

  has(name: string): boolean {
    const until = this.#until.get(name);
    if (until === undefined) return false;
    if (until > this.#now()) return true;
    this.#until.delete(name);
    return false;
  }
}
