/**
 * What can go wrong with a blob.
 * @module
 */

export type BlobErrorCode =
  /** The bytes are not what the digest says. */
  | "digest_mismatch"
  /** Two say different things of its size or its pieces: who is wrong shows only in the digest of the whole. */
  | "other_list"
  /** No such blob at the origin. */
  | "not_found"
  /** The origin wants other credentials; `challenge` is its own. */
  | "unauthorized"
  /** The origin or Eagle's rules refuse. */
  | "denied"
  /** Larger than this host's cache. */
  | "too_large"
  /** Nothing that could deliver it does. */
  | "unavailable"
  /** This host's disk failed. */
  | "storage"
  /** Nobody wants it any more. */
  | "abandoned";

/** A blob could not be had. */
export class BlobError extends Error {
  override readonly name = "BlobError";
  readonly code: BlobErrorCode;
  readonly challenge: string | undefined;

  constructor(code: BlobErrorCode, message: string, options: { cause?: unknown; challenge?: string | undefined } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.challenge = options.challenge;
  }

  /** Any thrown value as a BlobError. */
  static from(value: unknown, code: BlobErrorCode = "unavailable"): BlobError {
    if (value instanceof BlobError) return value;
    return new BlobError(code, value instanceof Error ? value.message : String(value), { cause: value });
  }
}
