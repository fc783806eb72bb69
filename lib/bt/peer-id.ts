/**
 * Who this host is among peers (BEP 20): `-EG0100-` and 12 random bytes.
 * @module
 */
import { randomBytes } from "node:crypto";

/** 20 bytes, new at each start. */
export function createPeerId(): Uint8Array {
  const id = new Uint8Array(20);
  id.set(new TextEncoder().encode("-EG0100-"));
  id.set(randomBytes(12), 8);
  return id;
}
