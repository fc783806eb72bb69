/**
 * Which blobs may be had by wire, by info hash. All that a blob costs which nobody asks for by wire.
 * @module
 */
import { infoHash, type Metainfo } from "../metainfo.ts";

/** Both ways between digests and info hashes (40 hex digits). */
export class InfoHashes {
  readonly #digests = new Map<string, string>();
  readonly #hashes = new Map<string, string>();

  /** @returns The info hash. */
  add(digest: string, metainfo: Metainfo): string {
    const known = this.#hashes.get(digest);
    if (known !== undefined) return known;
    const hash = Buffer.from(infoHash(metainfo)).toString("hex");
    this.#hashes.set(digest, hash);
    this.#digests.set(hash, digest);
    return hash;
  }

  /** @returns The info hash it had. */
  delete(digest: string): string | undefined {
    const hash = this.#hashes.get(digest);
    if (hash === undefined) return undefined;
    this.#hashes.delete(digest);
    this.#digests.delete(hash);
    return hash;
  }

  digestOf(hash: string): string | undefined {
    return this.#digests.get(hash);
  }

  hashOf(digest: string): string | undefined {
    return this.#hashes.get(digest);
  }
}
