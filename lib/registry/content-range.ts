/**
 * Content-Range headers (RFC 9110, section 14.4).
 * @module
 */

/** What a 206 or 416 says about the whole: offsets in bytes, `end` exclusive. */
export type ContentRange =
  | { readonly start: number; readonly end: number; readonly size: number | undefined }
  | { readonly start: undefined; readonly size: number };

/** Reads `bytes a-b/size`, `bytes a-b/*` and `bytes *\/size`; undefined for anything else or what contradicts itself. */
export function parseContentRange(header: string | null): ContentRange | undefined {
  const match = /^bytes +(?:(\d{1,15})-(\d{1,15})|\*)\/(\d{1,15}|\*)$/i.exec(header ?? "");
  if (match === null) return undefined;
  const [, first, last, total] = match;
  const size = total === "*" ? undefined : Number(total);
  if (first === undefined || last === undefined) return size === undefined ? undefined : { start: undefined, size };
  const start = Number(first);
  const end = Number(last) + 1;
  if (start >= end || (size !== undefined && end > size)) return undefined;
  return { start, end, size };
}
