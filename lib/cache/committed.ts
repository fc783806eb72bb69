/**
 * @module
 * The committed blobs in order of use, with their bytes summed.
 */

import { LRUCache } from "lru-cache";
import type { Cacheable } from "./cacheable.ts";
import type { Entry } from "./entry.ts";

/**
 * Order and sum on lru-cache. It never evicts by itself here, because lru-cache knows no pins: its bound is out of
 * reach, and the blob cache asks for victims.
 */
export class Committed<B extends Cacheable> {
  readonly #lru = new LRUCache<string, Entry<B>>({ maxSize: Number.MAX_SAFE_INTEGER });

  get bytes(): number {
    return this.#lru.calculatedSize;
  }

  get count(): number {
    return this.#lru.size;
  }

  /** The entry of an id, which becomes the most recently used. @param now Monotonic ms. */
  use(id: string, now: number): Entry<B> | undefined {
    const entry = this.#lru.get(id);
    if (entry) entry.usedAt = now;
    return entry;
  }

  /** The entry of an id, without using it. */
  get(id: string): Entry<B> | undefined {
    return this.#lru.peek(id);
  }

  has(id: string): boolean {
    return this.#lru.has(id);
  }

  /** Adds an entry as the most recently used. Its size must be at least 1: lru-cache refuses 0. */
  add(entry: Entry<B>): void {
    this.#lru.set(entry.id, entry, { size: entry.size });
  }

  delete(id: string): void {
    this.#lru.delete(id);
  }

  /** Unpinned entries, least recently used first; the one last yielded may be deleted while iterating. */
  *victims(): Generator<Entry<B>> {
    const entries = this.#lru.rvalues();
    let next = entries.next();
    while (!next.done) {
      const entry: Entry<B> | undefined = next.value;
      // One step ahead: lru-cache does not promise that its iterator survives the deletion of the entry it stands on.
      next = entries.next();
      if (entry?.pins === 0) yield entry;
    }
  }

  ids(): IterableIterator<string> {
    return this.#lru.keys();
  }
}
