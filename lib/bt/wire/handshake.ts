/**
 * The first bytes of a BitTorrent connection (BEP 3, "peer protocol"): which torrent it is about.
 * @module
 */

const PROTOCOL = Buffer.from("\x13BitTorrent protocol", "latin1");
/** Behind the protocol's name come 8 reserved bytes. */
const INFO_HASH_AT = PROTOCOL.length + 8;

/** Bytes of a handshake up to the end of its info hash. */
export const HANDSHAKE_PREFIX = INFO_HASH_AT + 20;

/**
 * @param bytes What has arrived so far.
 * @returns The info hash as 40 hex digits; "more" when too little has arrived; undefined when it is something else, an
 *   encrypted handshake for one.
 */
export function readInfoHash(bytes: Uint8Array): string | "more" | undefined {
  for (let index = 0; index < Math.min(bytes.length, PROTOCOL.length); index++) {
    if (bytes[index] !== PROTOCOL[index]) return undefined;
  }
  if (bytes.length < HANDSHAKE_PREFIX) return "more";
  return Buffer.from(bytes.subarray(INFO_HASH_AT, HANDSHAKE_PREFIX)).toString("hex");
}
