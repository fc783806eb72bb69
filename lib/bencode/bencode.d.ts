declare module "bencode" {
  /** Strings come out as bytes; throws on input that is no bencoding. */
  export function decode(bytes: Uint8Array): unknown;
  export function encode(value: unknown): Uint8Array;
  const bencode: { decode: typeof decode; encode: typeof encode };
  export default bencode;
}
