/**
 * @module Figures out of several runs.
 */

/** The middle one; the mean of the two middle ones; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** A figure with so many decimals; `-` for none. */
export function figure(value: number | undefined, decimals = 2): string {
  return value === undefined || !Number.isFinite(value) ? "-" : value.toFixed(decimals);
}

/** `low-high` of several, or the one. */
export function span(values: readonly number[], decimals = 2): string {
  const known = values.filter((value) => Number.isFinite(value));
  if (known.length === 0) return "-";
  const [low, high] = [Math.min(...known), Math.max(...known)];
  return low === high ? low.toFixed(decimals) : `${low.toFixed(decimals)}-${high.toFixed(decimals)}`;
}
