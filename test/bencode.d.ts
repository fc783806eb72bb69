/** The npm package, which tests take as another opinion beside lib/bencode; it comes without types. */
declare module "bencode" {
  /** Strings come out as bytes. */
  export function decode(bytes: Uint8Array): unknown;
  export function encode(value: unknown): Uint8Array;
  const bencode: { decode: typeof decode; encode: typeof encode };
  export default bencode;
}
