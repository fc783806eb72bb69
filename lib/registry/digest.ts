/**
 * Content digests (OCI image-spec, "Digests"): the name of a blob.
 * @module
 */
import { createHash, type Hash } from "node:crypto";

/** The algorithms every part of Eagle can check. */
export type DigestAlgorithm = "sha256" | "sha512";

/** The name of an immutable byte string. */
export interface Digest {
  readonly algorithm: DigestAlgorithm;
  /** Lower-case hex, 64 (sha256) or 128 (sha512) characters: the `id` that names files on disk. */
  readonly hex: string;
  /** `sha256:<hex>`. */
  toString(): string;
}

/** Text that is not a digest Eagle can check. */
export class DigestError extends Error {
  readonly code = "invalid";
  constructor(text: string) {
    super(
      `not a digest: ${JSON.stringify(text.slice(0, 160))} (expected sha256:<64 lower-case hex digits> or sha512:<128>)`,
    );
    this.name = "DigestError";
  }
}

const pattern = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

class ParsedDigest implements Digest {
  readonly algorithm: DigestAlgorithm;
  readonly hex: string;

  constructor(text: string) {
    this.algorithm = text.startsWith("sha256:") ? "sha256" : "sha512";
    this.hex = text.slice(7);
  }

  toString(): string {
    return `${this.algorithm}:${this.hex}`;
  }

  toJSON(): string {
    return this.toString();
  }
}

/**
 * Reads `sha256:<hex>` or `sha512:<hex>`. Exact: lower-case hex of the right length and nothing around it, because the
 * hex part becomes a file name and two spellings of one digest would be two files.
 * @throws DigestError
 */
export function parseDigest(text: string): Digest {
  if (!pattern.test(text)) throw new DigestError(text);
  return new ParsedDigest(text);
}

/** Whether {@link parseDigest} would take the text. */
export function isDigest(text: string): boolean {
  return pattern.test(text);
}

/** A hash of the digest's algorithm; the blob is right when its hex output equals `digest.hex`. */
export function createDigestHash(digest: Digest): Hash {
  return createHash(digest.algorithm);
}
