/**
 * @module
 * The `Range` request header (RFC 9110, section 14).
 */

/** What a `Range` header asks of a representation. `end` is exclusive. Units are bytes. */
export type RangeResult = { kind: "whole" } | { kind: "range"; start: number; end: number } | { kind: "unsatisfiable" };

const SINGLE_RANGE = /^bytes=(?:(\d+)-(\d*)|-(\d+))$/i;

/**
 * Reads a `Range` header for a representation of `size` bytes.
 *
 * A header that is malformed, of another unit, or that names several ranges gives "whole": RFC 9110 (14.2) lets a server
 * ignore any Range header, and one body is what every container engine can read.
 *
 * @param header value of the header, null when there is none
 * @param size length of the whole representation in bytes
 */
export function parseRange(header: string | null, size: number): RangeResult {
  const match = header === null ? null : SINGLE_RANGE.exec(header.trim());
  if (match === null) {
    return { kind: "whole" };
  }
  const [, first, last, suffix] = match;
  if (suffix !== undefined) {
    return suffixRange(Number(suffix), size);
  }
  const start = Number(first);
  // Digits beyond what a double holds become larger than any size: the answer stays right.
  const end = last === "" || last === undefined ? size : Math.min(Number(last) + 1, size);
  if (last !== "" && Number(last) < start) {
    return { kind: "whole" };
  }
  return start >= size ? { kind: "unsatisfiable" } : { kind: "range", start, end };
}

function suffixRange(length: number, size: number): RangeResult {
  if (length === 0) {
    return { kind: "unsatisfiable" };
  }
  // A Content-Range cannot describe zero bytes, so the tail of nothing is the whole nothing.
  return size === 0 ? { kind: "whole" } : { kind: "range", start: Math.max(0, size - length), end: size };
}
