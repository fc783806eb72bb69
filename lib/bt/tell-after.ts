/**
 * How long a host that got a piece waits for more before it tells its neighbours. A pure function: the product and the
 * simulator run the same code.
 *
 * Each telling costs a packet, a wake-up and a look at both ends, as much as a tenth of a piece. Where pieces take long
 * to arrive nobody gains by hearing of one sooner: a quarter of that time costs a swarm half a percent.
 * @module
 */

/** Of the median time of a piece. */
const SHARE = 1 / 4;
const LEAST_MS = 15;
const MOST_MS = 100;

/** @param medianMs Of the latest pieces; undefined before the first. @returns ms */
export function tellAfterMs(medianMs: number | undefined): number {
  return Math.min(MOST_MS, Math.max(LEAST_MS, (medianMs ?? 0) * SHARE));
}
