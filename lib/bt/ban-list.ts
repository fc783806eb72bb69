/**
 * Hosts that sent bytes which failed their own hash.
 * @module
 */
import { setLatest } from "./set-latest.ts";

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
    setLatest(this.#until, name, this.#now() + this.#banMs, this.#max);
  }

  has(name: string): boolean {
    const until = this.#until.get(name);
    if (until === undefined) return false;
    if (until > this.#now()) return true;
    this.#until.delete(name);
    return false;
  }
}
