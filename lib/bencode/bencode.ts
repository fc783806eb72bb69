/**
 * @module Bencoding (BEP 3) for trackers and metainfo.
 *
 * The `bencode` package is not used here for two reasons. Its decoder trusts what it reads: a negative length makes it
 * go round for ever. Its encoder writes binary text as UTF-8, so that a peer id or a scrape key with a high byte comes
 * out longer than 20 bytes. Dictionary keys are therefore "latin1" strings here, one character a byte.
 */

/** A bencoded value. Text is read as bytes; keys of dictionaries hold one character a byte. */
export type BencodeValue = number | Uint8Array | BencodeValue[] | Map<string, BencodeValue>;

/** What may be written: strings as UTF-8, dictionaries sorted by their bytes. */
export type BencodeInput = number | string | Uint8Array | BencodeInput[] | Map<string, BencodeInput>;

/** Bounds of {@link decodeBencode}. */
export interface DecodeBounds {
  /** Lists and dictionaries inside one another. @default 8 */
  readonly maxDepth?: number;
  /** Values in all. @default 20000 */
  readonly maxValues?: number;
}

/**
 * Reads one bencoded value that fills `data` exactly.
 *
 * @throws SyntaxError when the data is no bencoding or goes beyond the bounds
 */
export function decodeBencode(data: Uint8Array, { maxDepth = 8, maxValues = 20_000 }: DecodeBounds = {}): BencodeValue {
  let at = 0;
  let values = 0;

  const fail = (what: string): never => {
    throw new SyntaxError(`bencode: ${what} at byte ${at}`);
  };

  const integer = (end: number): number => {
    const start = at;
    if (data[at] === 0x2d && end === 0x65) at += 1;
    let value = 0;
    const digits = at;
    for (; at < data.length && data[at] !== end; at += 1) {
      const digit = data[at]! - 0x30;
      if (digit < 0 || digit > 9 || at - digits >= 16) fail("bad number");
      value = value * 10 + digit;
    }
    if (at >= data.length || at === digits || !Number.isSafeInteger(value)) fail("bad number");
    at += 1;
    return data[start] === 0x2d ? -value : value;
  };

  const bytes = (): Uint8Array => {
    const length = integer(0x3a);
    if (length > data.length - at) fail("string longer than the data");
    at += length;
    return data.subarray(at - length, at);
  };

  const value = (depth: number): BencodeValue => {
    values += 1;
    if (values > maxValues) fail("too many values");
    if (depth > maxDepth) fail("too deep");
    const kind = data[at];
    if (kind === 0x69) {
      at += 1;
      return integer(0x65);
    }
    if (kind === 0x6c) {
      const list: BencodeValue[] = [];
      for (at += 1; data[at] !== 0x65; ) list.push(value(depth + 1));
      at += 1;
      return list;
    }
    if (kind === 0x64) {
      const map = new Map<string, BencodeValue>();
      for (at += 1; data[at] !== 0x65; ) map.set(latin1(bytes()), value(depth + 1));
      at += 1;
      return map;
    }
    return bytes();
  };

  const result = value(0);
  if (at !== data.length) fail("trailing data");
  return result;
}

/** Writes one value. Numbers are cut to integers. */
export function encodeBencode(input: BencodeInput): Uint8Array {
  const parts: Uint8Array[] = [];
  write(input, parts);
  return Buffer.concat(parts);
}

/** One character a byte. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

function write(input: BencodeInput, parts: Uint8Array[]): void {
  if (typeof input === "number") {
    parts.push(Buffer.from(`i${Math.trunc(input)}e`, "latin1"));
  } else if (typeof input === "string") {
    const text = Buffer.from(input, "utf8");
    parts.push(Buffer.from(`${text.length}:`, "latin1"), text);
  } else if (input instanceof Uint8Array) {
    parts.push(Buffer.from(`${input.length}:`, "latin1"), input);
  } else if (Array.isArray(input)) {
    parts.push(Buffer.from("l"));
    for (const item of input) write(item, parts);
    parts.push(Buffer.from("e"));
  } else {
    parts.push(Buffer.from("d"));
    for (const key of [...input.keys()].sort()) {
      parts.push(Buffer.from(`${key.length}:${key}`, "latin1"));
      write(input.get(key)!, parts);
    }
    parts.push(Buffer.from("e"));
  }
}
