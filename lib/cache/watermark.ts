/**
 * @module
 * Keeps a part of the disk free.
 */

import type { BlobCacheInit, Cacheable } from "./cacheable.ts";

/** What the watermark needs from the cache. */
export interface WatermarkInit extends Pick<BlobCacheInit<Cacheable>, "freeSpace" | "minFree" | "log"> {
  /** Bytes of arriving blobs that are not on the disk yet. */
  expected(): number;

  /** Evicts unpinned blobs of at least so many bytes, or all of them. @returns bytes evicted */
  evict(bytes: number): number;

  /** Resolves when files of evicted blobs are off the disk: measuring earlier would count them twice. */
  removed(): Promise<void>;
}

/** Measures the disk and evicts what is missing to the watermark. */
export class Watermark {
  readonly #init: WatermarkInit;
  #running: Promise<void> | undefined;
  #again = false;
  /** Bytes above the watermark when the disk was measured last. */
  #above: number | undefined;

  constructor(init: WatermarkInit) {
    this.#init = init;
  }

  /** Bytes that may still come before the watermark is reached, as far as is known; below zero: too many come already. */
  get room(): number | undefined {
    return this.#above === undefined ? undefined : this.#above - this.#init.expected();
  }

  /** Resolves after a look at the disk that began after this call; calls meanwhile share the next look. Never rejects. */
  check(): Promise<void> {
    this.#again = true;
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (this.#again) {
        await this.#init.removed();
        this.#again = false;
        await this.#look();
        await this.#init.removed();
      }
    } finally {
      this.#running = undefined;
    }
  }

  async #look(): Promise<void> {
    const { freeSpace, minFree, expected, evict, log } = this.#init;
    try {
      const { free, total } = await freeSpace();
      this.#above = free - minFree(total);
      const missing = expected() - this.#above;
      if (!(missing > 0)) return;
      const freed = evict(missing);
      // Once it is off the disk; the next look will tell.
      this.#above += freed;
      if (freed < missing) log?.warn("the disk stays below its free-space watermark", { missing: missing - freed });
    } catch (error) {
      this.#above = undefined;
      log?.warn("cannot measure the free space of the disk", { error });
    }
  }
}
