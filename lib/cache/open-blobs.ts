/**
 * @module
 * Which blobs are open: opened once for all who ask, closed when nobody holds them, a few kept open in between.
 */

import type { BlobCacheInit, Cacheable } from "./cacheable.ts";
import type { Entry } from "./entry.ts";
import { Leaving } from "./leaving.ts";

/** What this needs of the cache's init. */
export interface OpenBlobsInit<B extends Cacheable> {
  open: BlobCacheInit<B>["open"];
  /** Most blobs kept open that nobody holds. */
  readonly keepOpen: number;
  readonly log: BlobCacheInit<B>["log"];
}

/** Opens and closes the blobs of entries; the pins are the cache's. */
export class OpenBlobs<B extends Cacheable> {
  readonly #init: OpenBlobsInit<B>;
  /** Blobs that are being closed. */
  readonly closings = new Leaving();
  /** Open blobs that nobody holds, longest unused first. */
  readonly #idle = new Set<Entry<B>>();
  #closed = false;

  constructor(init: OpenBlobsInit<B>) {
    this.#init = init;
  }

  /** The open blob of a pinned entry, opening it or joining its fetch as needed. */
  get(entry: Entry<B>): B | Promise<B> {
    this.#idle.delete(entry);
    return entry.blob ?? entry.opening ?? this.#open(entry);
  }

  /** Closes or parks the blob of an entry if nobody holds it. Call it whenever pins or state may have ended its use. */
  rest(entry: Entry<B>): void {
    if (entry.pins > 0 || entry.inFlight || !entry.blob) return;
    const { keepOpen } = this.#init;
    // A blob that has just been fetched may hold more than a file handle: it is not kept.
    if (entry.state === "gone" || !entry.reopened || keepOpen <= 0 || this.#closed) {
      this.#close(entry);
      return;
    }
    this.#idle.add(entry);
    const [longest] = this.#idle;
    if (longest && this.#idle.size > keepOpen) this.#close(longest);
  }

  /** From now on nothing is kept open. */
  close(): void {
    this.#closed = true;
    for (const entry of this.#idle) this.#close(entry);
  }

  #open(entry: Entry<B>): Promise<B> {
    const opening = (async () => {
      const blob = await this.#init.open(entry.id, entry.size);
      entry.blob = blob;
      entry.reopened = true;
      return blob;
    })();
    entry.opening = opening;
    const ended = () => {
      entry.opening = undefined;
      this.rest(entry);
    };
    opening.then(ended, ended);
    return opening;
  }

  #close(entry: Entry<B>): void {
    const blob = entry.blob;
    entry.blob = undefined;
    entry.reopened = false;
    this.#idle.delete(entry);
    if (!blob) return;
    const closing = (async () => blob.close())();
    closing.catch((error) => this.#init.log?.warn("closing a blob failed", { blob: entry.id, error }));
    this.closings.add(entry.id, closing);
  }
}
