/**
 * @module
 * Remembers which blobs were used, so that the order of use survives a restart: noted on the disk in batches, some time
 * afterwards. What a crash loses of it is order, nothing else.
 */

import type { BlobCacheInit, Cacheable, SetTimer, Timer } from "./cacheable.ts";
import type { Entry } from "./entry.ts";

/** What this needs of the cache. */
export interface UsesInit extends Pick<BlobCacheInit<Cacheable>, "touch" | "log"> {
  readonly intervalMs: number;
  readonly setTimer: SetTimer;
  readonly now: () => number;
}

/** See the module. Uses of one blob within an interval are one note. */
export class Uses<B extends Cacheable> {
  readonly #init: UsesInit;
  #used = new Set<Entry<B>>();
  #timer: Timer | undefined;
  #writing: Promise<void> | undefined;
  #closed = false;

  constructor(init: UsesInit) {
    this.#init = init;
  }

  /** The entry was used just now. */
  add(entry: Entry<B>): void {
    if (!this.#init.touch || this.#closed) return;
    this.#used.add(entry);
    this.#timer ??= this.#init.setTimer(() => {
      this.#timer = undefined;
      void this.flush();
    }, this.#init.intervalMs);
  }

  /** The entry has left. */
  delete(entry: Entry<B>): void {
    this.#used.delete(entry);
  }

  /** Notes all that was used until now. Never rejects. */
  async flush(): Promise<void> {
    while (this.#writing) await this.#writing;
    this.#writing = this.#write();
    await this.#writing;
    this.#writing = undefined;
  }

  /** Notes what is left; nothing is taken any more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.flush();
  }

  /** One after the other: nobody waits for it. */
  async #write(): Promise<void> {
    const { touch, now, log } = this.#init;
    const used = this.#used;
    this.#used = new Set();
    let failed = 0;
    let last: unknown;
    for (const entry of used) {
      if (entry.state !== "committed") continue;
      try {
        await touch?.(entry.id, Math.max(0, now() - entry.usedAt));
      } catch (error) {
        failed++;
        last = error;
      }
    }
    if (failed > 0) log?.debug("could not note when blobs were used", { blobs: failed, error: last });
  }
}
