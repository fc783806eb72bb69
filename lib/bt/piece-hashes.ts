/**
 * The SHA-1 hashes of a blob's pieces as far as they are known.
 * @module
 */
import { Bitfield } from "./bitfield.ts";

/** Bytes of a SHA-1 hash. */
export const HASH_LENGTH = 20;

/** A list of piece hashes that fills up. */
export class PieceHashes {
  readonly known: Bitfield;
  readonly bytes: Uint8Array;

  constructor(count: number, bytes?: Uint8Array) {
    this.known = new Bitfield(count);
    this.bytes = new Uint8Array(count * HASH_LENGTH);
    if (bytes) {
      this.bytes.set(bytes);
      this.known.addAll();
    }
  }

  get complete(): boolean {
    return this.known.full;
  }

  /** The hash of a piece; undefined while unknown. */
  get(piece: number): Uint8Array | undefined {
    if (!this.known.has(piece)) return undefined;
    return this.bytes.subarray(piece * HASH_LENGTH, (piece + 1) * HASH_LENGTH);
  }

  /** @returns Whether the hash agrees with what was known; a new one always does. */
  set(piece: number, hash: Uint8Array): boolean {
    const present = this.get(piece);
    if (present) return sameHash(present, hash);
    if (this.known.add(piece)) this.bytes.set(hash, piece * HASH_LENGTH);
    return true;
  }

  /** Forgets what was known of a piece. */
  replace(piece: number, hash: Uint8Array): void {
    this.known.add(piece);
    this.bytes.set(hash, piece * HASH_LENGTH);
  }
}

export function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}
