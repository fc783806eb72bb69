/**
 * @module Names of swarms.
 *
 * A blob has two swarms. K1, made here, is known as soon as the digest is known and gathers the peers that speak HTTP.
 * K2 is the BitTorrent info hash and comes out of the metainfo.
 */
import { createHash } from "node:crypto";

/** Bytes of a swarm key, of an info hash and of a peer id (BEP 3). */
export const KEY_BYTES = 20;

/**
 * K1 of a blob: the first 20 bytes of SHA-256 over "eagle/1", a line feed and the digest as text.
 *
 * @param digest - `sha256:<hex>` or `sha512:<hex>`, exactly as it is written in references
 * @returns 20 bytes, fit for `info_hash` of an announce
 */
export function swarmKey(digest: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update("eagle/1\n").update(digest).digest().subarray(0, KEY_BYTES));
}
