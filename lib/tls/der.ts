/**
 * DER (ITU-T X.690) as far as certificates need it: values are written from their parts, and read back one level at a
 * time.
 * @module
 */

/** Tags of universal types, with the constructed bit where it belongs. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One value as it was read. */
export interface DerValue {
  readonly tag: number;
  readonly content: Uint8Array;
  /** Tag, length and content. */
  readonly whole: Uint8Array;
}

/** Bytes that are no DER, or not what they should be. */
export class DerError extends Error {
  override readonly name = "DerError";
  readonly code = "malformed";
}

/** A value of the given tag, made of parts. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag, ...lengthOf(content.length)]), content]);
}

/** SEQUENCE. */
export function sequence(...parts: readonly Uint8Array[]): Uint8Array {
  return der(TAG.sequence, ...parts);
}

/** INTEGER of big-endian bytes that are taken as not negative. */
export function integer(bytes: Uint8Array): Uint8Array {
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === 0) from++;
  const digits = bytes.subarray(from);
  return der(TAG.integer, ...((digits[0] ?? 0) > 127 ? [Uint8Array.of(0)] : []), digits);
}

/** OBJECT IDENTIFIER of dotted text. */
export function oid(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  return der(TAG.oid, Uint8Array.from([first * 40 + second, ...rest].flatMap(base128)));
}

/** BIT STRING of whole bytes, less the lowest `unused` bits of the last one. */
export function bitString(bytes: Uint8Array, { unused = 0 }: { unused?: number } = {}): Uint8Array {
  return der(TAG.bitString, Uint8Array.of(unused), bytes);
}

/** UTF8String. */
export function utf8String(text: string): Uint8Array {
  return der(TAG.utf8String, Buffer.from(text, "utf8"));
}

/** A Time of RFC 5280, 4.1.2.5: UTCTime until 2049, then GeneralizedTime; whole seconds. */
export function time(date: Date): Uint8Array {
  const digits = `${date.toISOString().replace(/[-:T]|\.\d+/g, "")}`;
  const short = date.getUTCFullYear() < 2050;
  return der(short ? TAG.utcTime : TAG.generalizedTime, Buffer.from(short ? digits.slice(2) : digits, "latin1"));
}

/** The values that stand one behind the other in `bytes`. @throws DerError */
export function read(bytes: Uint8Array): DerValue[] {
  const values: DerValue[] = [];
  let at = 0;
  while (at < bytes.length) {
    const tag = bytes[at]!;
    const first = bytes[at + 1] ?? 0x80;
    const wide = first > 127 ? first & 127 : 0;
    if (first === 128 || wide > 4) throw new DerError("a value's length is not written as DER wants it");
    let length = wide === 0 ? first : 0;
    for (let i = 0; i < wide; i++) length = length * 256 + (bytes[at + 2 + i] ?? 0);
    const start = at + 2 + wide;
    if (start + length > bytes.length) throw new DerError("a value is longer than what holds it");
    values.push({ tag, content: bytes.subarray(start, start + length), whole: bytes.subarray(at, start + length) });
    at = start + length;
  }
  return values;
}

/** The values inside a constructed one. @throws DerError when there is none or its tag is another */
export function readInside(value: DerValue | undefined, tag: number = TAG.sequence): DerValue[] {
  if (value?.tag !== tag) throw new DerError(`expected a value of tag ${tag}, found ${value?.tag ?? "none"}`);
  return read(value.content);
}

function lengthOf(length: number): number[] {
  if (length < 128) return [length];
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return [0x80 | bytes.length, ...bytes];
}

function base128(arc: number): number[] {
  const bytes = [arc % 128];
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128)) bytes.unshift((rest % 128) | 128);
  return bytes;
}
