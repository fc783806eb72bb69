/**
 * Durations as people write them: `30d`, `12h`, `45m`, `90s`.
 *
 * @module
 */
import { invalid, shown } from "./errors.ts";

const seconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };
/** A century: longer is a slip of the pen. */
const maxDays = 36_500;

/**
 * Seconds of a duration: a whole number above 0 with s, m, h or d.
 *
 * @throws ConfigError `invalid`
 * @example parseDuration("30d") // 2592000
 */
export function parseDuration(value: unknown): number {
  const match = typeof value === "string" ? /^([0-9]{1,12})([smhd])$/.exec(value) : null;
  if (!match) throw invalid(`${shown(value)} is not a duration`);
  const length = Number(match[1]) * seconds[match[2]!]!;
  if (length === 0 || length > maxDays * 86_400) throw invalid(`${shown(value)} is outside 1s to ${maxDays}d`);
  return length;
}
