/**
 * Remembers blobs whose bytes were not what their digest says, so that an origin that goes on sending them is not
 * read again and again.
 * @module
 */
import type { Digest } from "../registry/digest.ts";
import { BlobError } from "./errors.ts";
import { setLatest } from "./set-latest.ts";

/** A second failure within this time closes the blob for as long, ms. */
const MEMORY_MS = 60_000;
const MAX_ENTRIES = 10_000;

/** See the module. One repeat is allowed: the first may have been an accident of the line. */
export class MismatchMemory {
  readonly #failures = new Map<string, { count: number; at: number }>();
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  add(digest: Digest): void {
    const before = this.#recent(digest);
    setLatest(this.#failures, digest.hex, { count: (before?.count ?? 0) + 1, at: this.#now() }, MAX_ENTRIES);
  }

  /** @throws BlobError digest_mismatch */
  check(digest: Digest): void {
    if ((this.#recent(digest)?.count ?? 0) >= 2) {
      throw new BlobError(
        "digest_mismatch",
        `${digest}: the origin's bytes had another digest twice; asked again in a minute`,
      );
    }
  }

  #recent(digest: Digest): { count: number; at: number } | undefined {
    const entry = this.#failures.get(digest.hex);
    return entry && this.#now() - entry.at < MEMORY_MS ? entry : undefined;
  }
}
