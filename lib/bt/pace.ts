/**
 * How fast pieces come to a download: what `picker.ts` and `request-limits.ts` go by.
 * @module
 */
import { RunningMedian } from "./median.ts";
import { type RequestLimits, type RequestLoad, requestLimits } from "./request-limits.ts";

/** The share of a new value in a smoothed one. */
const SMOOTH = 1 / 16;
/** The least latency is that of so many latest pieces. */
const LATEST = 16;

/** The mean of the latest values, older ones counting less and less. */
export function smoothed(mean: number | undefined, value: number): number {
  return mean === undefined ? value : mean + (value - mean) * SMOOTH;
}

/** All times are monotonic ms. */
export class Pace {
  readonly #median = new RunningMedian();
  readonly #latencies: number[] = [];
  #latencyAt = 0;
  #gapMs: number | undefined;
  #arrivedAt: number | undefined;

  /** Median ms of the latest pieces, from first request to last byte; undefined before the first. */
  get medianMs(): number | undefined {
    return this.#median.value;
  }

  /** A piece is here, whole. */
  arrived({ startedAt, now }: { startedAt: number; now: number }): void {
    this.#median.add(now - startedAt);
    if (this.#arrivedAt !== undefined) this.#gapMs = smoothed(this.#gapMs, now - this.#arrivedAt);
    this.#arrivedAt = now;
  }

  /** The first byte of a piece that was asked for came after so long. */
  answered(ms: number): void {
    this.#latencies[this.#latencyAt] = ms;
    this.#latencyAt = (this.#latencyAt + 1) % LATEST;
  }

  limits(load: Pick<RequestLoad, "peers" | "downloads" | "distanceMs">): RequestLimits {
    const latencyMs = this.#latencies.length > 0 ? Math.min(...this.#latencies) : undefined;
    return requestLimits({ ...load, gapMs: this.#gapMs, latencyMs, medianMs: this.medianMs });
  }
}
