/**
 * @module
 * Cuts a stream into the parts of a multipart upload.
 */

/** Least bytes of a part but the last (S3 wants 5 MiB), and most bytes before there are too many parts. */
const partBytes = { least: 8 * 1024 * 1024, most: 32 * 1024 * 1024 };
/** Some servers take 1,000 parts, S3 takes 10,000. */
const fewParts = 900;
const manyParts = 9_000;
/** Without a known size parts grow by half each so many: 10,000 of them hold 5 TiB. */
const growEvery = 1_000;

/** One part; its bytes are the reader's until `release`. */
export interface Part {
  readonly number: number;
  readonly bytes: Uint8Array;
  readonly last: boolean;
  /** The buffer may be another part's from now on. */
  release(): void;
}

/** Bytes of part `number` (from 1) of an object of `size` bytes. */
export function partLength(number: number, size: number | undefined): number {
  if (size !== undefined) {
    const few = Math.min(partBytes.most, Math.max(partBytes.least, Math.ceil(size / fewParts)));
    return Math.max(few, Math.ceil(size / manyParts));
  }
  return Math.ceil(partBytes.least * 1.5 ** Math.floor((number - 1) / growEvery));
}

/** Yields parts in order; an empty source is one empty part. Buffers given back are used again. */
export async function* cutParts(source: AsyncIterable<Uint8Array>, size: number | undefined): AsyncGenerator<Part> {
  const free: Uint8Array<ArrayBuffer>[] = [];
  const take = (length: number) => {
    const index = free.findIndex((buffer) => buffer.length === length);
    return index < 0 ? new Uint8Array(length) : free.splice(index, 1)[0]!;
  };
  const part = (number: number, buffer: Uint8Array<ArrayBuffer>, init: { filled: number; last: boolean }): Part => ({
    number,
    bytes: buffer.subarray(0, init.filled),
    last: init.last,
    release: () => free.push(buffer),
  });
  const first = size === undefined ? partLength(1, size) : Math.min(partLength(1, size), Math.max(1, size));
  let number = 1;
  let buffer: Uint8Array<ArrayBuffer> = take(first);
  let filled = 0;
  for await (const chunk of source) {
    for (let rest = chunk; rest.length > 0; ) {
      if (filled === buffer.length) {
        yield part(number++, buffer, { filled, last: false });
        buffer = take(partLength(number, size));
        filled = 0;
      }
      const piece = rest.subarray(0, buffer.length - filled);
      buffer.set(piece, filled);
      filled += piece.length;
      rest = rest.subarray(piece.length);
    }
  }
  yield part(number, buffer, { filled, last: true });
}
