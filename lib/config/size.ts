/**
 * Sizes as people write them: `100G`, `512K`, `1048576`.
 *
 * @module
 */
import { invalid, shown } from "./errors.ts";

const units = ["", "K", "M", "G", "T"];

/**
 * Bytes of a size: a whole number, or text of the form `^[0-9]+[KMGT]?$` where the letter is a power of 1024.
 *
 * @throws ConfigError `invalid` when it is anything else, or above 2^53 - 1 bytes.
 * @example parseSize("100G") // 107374182400
 */
export function parseSize(value: unknown): number {
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value) || value < 0) throw invalid(`${shown(value)} is not a whole number of bytes`);
    return value;
  }
  const match = typeof value === "string" ? /^([0-9]{1,20})([KMGT]?)$/.exec(value) : null;
  if (!match) throw invalid(`${shown(value)} is not a size${sizeHint(value)}`);
  const bytes = Number(match[1]) * 1024 ** units.indexOf(match[2]!);
  if (!Number.isSafeInteger(bytes)) throw invalid(`${shown(value)} is too large (at most 8191T)`);
  return bytes;
}

/**
 * The shortest text that {@link parseSize} reads back as exactly `bytes`.
 *
 * @example formatSize(107374182400) // "100G"; formatSize(1000) // "1000"
 */
export function formatSize(bytes: number): string {
  let unit = 0;
  let count = bytes;
  while (unit < units.length - 1 && count > 0 && count % 1024 === 0) {
    count /= 1024;
    unit++;
  }
  return `${count}${units[unit]}`;
}

function sizeHint(value: unknown): string {
  const near = typeof value === "string" ? /^\s*([0-9]{1,20})\s*([kmgt])(i?b)?\s*$/i.exec(value) : null;
  return near ? ` (did you mean ${near[1]}${near[2]!.toUpperCase()}?)` : "";
}
