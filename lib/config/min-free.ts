/**
 * The free-space watermark: how much of a disk the cache leaves alone.
 *
 * @module
 */
import { invalid, shown } from "./errors.ts";
import { parseSize } from "./size.ts";

/** Either a fixed number of bytes, or a share of the file system's total size in percent. */
export type MinFree = { readonly bytes: number } | { readonly percent: number };

/**
 * Reads `5%`, `10G` or a number of bytes.
 *
 * @throws ConfigError `invalid` for anything else, and for 100% and more, which would leave no room for a blob.
 */
export function parseMinFree(value: unknown): MinFree {
  if (typeof value !== "string" || !value.includes("%")) return { bytes: parseSize(value) };
  const match = /^([0-9]{1,3}(?:\.[0-9]{1,4})?)%$/.exec(value);
  if (!match) throw invalid(`${shown(value)} is not a percentage`);
  const percent = Number(match[1]);
  if (percent >= 100) throw invalid(`${shown(value)} would leave no room for a single blob`);
  return { percent };
}

/** Bytes to keep free on a file system of `total` bytes. */
export function minFreeBytes(minFree: MinFree, total: number): number {
  return "bytes" in minFree ? minFree.bytes : Math.ceil((total * minFree.percent) / 100);
}
