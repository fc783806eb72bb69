/**
 * What blobs that did not come to their end left in the storage: pieces that the next attempt takes up again. They take
 * room as blobs do, go before any of them, and are swept when nobody comes back for them.
 * @module
 */
import type { Scraps } from "../cache/index.ts";
import type { Logger } from "../log/log.ts";
import type { Storage } from "../storage/index.ts";

export interface LeftoversInit {
  readonly storage: Pick<Storage, "listPartial" | "deletePartial">;
  readonly log: Pick<Logger, "warn" | "info">;
  /** Whether a partial file can be taken up; told its id. */
  isResumable(id: string): Promise<boolean>;
  /** Most bytes kept. */
  readonly limit: number;
  /** Kept for so long, ms. @default a day */
  readonly maxAgeMs?: number;
  /** Monotonic ms. */
  readonly now?: () => number;
  /** Milliseconds since the epoch. */
  readonly wallNow?: () => number;
}

interface Leftover {
  readonly bytes: number;
  /** Monotonic ms; below zero: before this process. */
  readonly since: number;
}

const DAY_MS = 24 * 3600 * 1000;

/** See the module. */
export class Leftovers implements Scraps {
  readonly #init: LeftoversInit;
  readonly #maxAgeMs: number;
  readonly #now: () => number;
  /** Longest unused first. */
  readonly #kept = new Map<string, Leftover>();
  readonly #removals = new Map<string, Promise<void>>();
  /** Ids that the disk would not remove: that is said once. */
  readonly #refused = new Set<string>();
  #bytes = 0;

  constructor(init: LeftoversInit) {
    this.#init = init;
    this.#maxAgeMs = init.maxAgeMs ?? DAY_MS;
    this.#now = init.now ?? (() => performance.now());
  }

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#kept.size;
  }

  /** Takes over what an earlier process left; sweeps what is of no use. Call it before any fetch begins. */
  async load(): Promise<void> {
    const { storage, isResumable, wallNow = Date.now } = this.#init;
    const found: { id: string; bytes: number; age: number }[] = [];
    for await (const { id, size, diskBytes, modifiedMs } of storage.listPartial()) {
      if (!(await isResumable(id))) await this.#discard(id);
      else
        found.push({
          id,
          bytes: Math.max(1, Math.min(size, diskBytes || size)),
          age: Math.max(0, wallNow() - modifiedMs),
        });
    }
    found.sort((a, b) => b.age - a.age);
    for (const { id, bytes, age } of found) this.#keep(id, { bytes, since: this.#now() - age });
    this.sweep();
    if (this.count > 0) this.#init.log.info("half-arrived blobs are kept to go on with", { blobs: this.count });
  }

  /**
   * A fetch begins: what is left of the blob is its own now. Resolves when nothing stands in its way.
   * @returns bytes that are left
   */
  async take(id: string): Promise<number> {
    for (let removal = this.#removals.get(id); removal; removal = this.#removals.get(id)) await removal;
    const bytes = this.#kept.get(id)?.bytes ?? 0;
    this.#forget(id);
    return bytes;
  }

  /** A fetch ended and left pieces. */
  add(id: string, bytes: number): void {
    this.#forget(id);
    this.#keep(id, { bytes, since: this.#now() });
    if (this.#bytes > this.#init.limit) this.evict(this.#bytes - this.#init.limit);
  }

  evict(bytes: number): number {
    let freed = 0;
    for (const [id, leftover] of this.#kept) {
      if (freed >= bytes) break;
      freed += leftover.bytes;
      this.#remove(id);
    }
    return freed;
  }

  /** Removes what nobody came back for. */
  sweep(): void {
    for (const [id, { since }] of this.#kept) {
      if (this.#now() - since < this.#maxAgeMs) break;
      this.#remove(id);
    }
  }

  async removed(): Promise<void> {
    await Promise.all(this.#removals.values());
  }

  #keep(id: string, leftover: Leftover): void {
    this.#kept.set(id, leftover);
    this.#bytes += leftover.bytes;
  }

  #forget(id: string): void {
    this.#bytes -= this.#kept.get(id)?.bytes ?? 0;
    this.#kept.delete(id);
  }

  async #discard(id: string): Promise<void> {
    try {
      await this.#init.storage.deletePartial(id);
    } catch (error) {
      this.#init.log.warn("what is left of a blob cannot be removed before the next start", { blob: id, error });
    }
  }

  #remove(id: string): void {
    const leftover = this.#kept.get(id)!;
    this.#forget(id);
    const removal = this.#init.storage
      .deletePartial(id)
      .then(
        () => this.#refused.delete(id),
        (error: unknown) => this.#onRefused(id, { leftover, error }),
      )
      .then(() => {
        this.#removals.delete(id);
      });
    this.#removals.set(id, removal);
  }

  /** It takes its room as before, and goes another time. */
  #onRefused(id: string, { leftover, error }: { leftover: Leftover; error: unknown }): void {
    this.#keep(id, { bytes: leftover.bytes, since: this.#now() });
    if (this.#refused.has(id)) return;
    this.#refused.add(id);
    this.#init.log.warn("a half-arrived blob could not be removed; that is tried again", { blob: id, error });
  }
}
