/**
 * Tells requests whose other side is silent for too long: all of a host by one timer.
 * @module
 */
import { Sweep } from "./sweep.ts";

const MAX_EVERY_MS = 250;
const MIN_EVERY_MS = 10;

/** One that waits for another side. */
export interface Waiting {
  /** Longest silence, ms. */
  patienceMs: number;
  /** The least that `patienceMs` will be. */
  readonly shortestMs: number;
  /** Set whenever the other side gave a sign of life: a clock would cost more at each read. */
  heard: boolean;
  /** When the silence began, as far as the watch saw; its own. */
  since: number;
  /** The silence was too long. It is watched on until it is taken out. */
  onSilence(): void;
}

/** See the module. A silence is noticed up to two of its looks late: each 250 ms, or a quarter of the shortest patience. */
export class SilenceWatch {
  readonly #waiting = new Set<Waiting>();
  readonly #sweep = new Sweep(() => this.#look());

  add(waiting: Waiting): void {
    waiting.since = performance.now();
    this.#waiting.add(waiting);
    this.#sweep.run(intervalFor(waiting.shortestMs));
  }

  delete(waiting: Waiting): void {
    this.#waiting.delete(waiting);
  }

  #look(): number | undefined {
    const now = performance.now();
    let shortestMs = Number.POSITIVE_INFINITY;
    for (const waiting of this.#waiting) {
      if (waiting.heard) {
        waiting.heard = false;
        waiting.since = now;
      } else if (now - waiting.since >= waiting.patienceMs) {
        waiting.onSilence();
      }
      shortestMs = Math.min(shortestMs, waiting.shortestMs);
    }
    return this.#waiting.size > 0 ? intervalFor(shortestMs) : undefined;
  }
}

function intervalFor(shortestMs: number): number {
  return Math.min(MAX_EVERY_MS, Math.max(MIN_EVERY_MS, shortestMs / 4));
}
