/**
 * @module
 * A pretend disk, clock and blobs for the tests of the cache. They complain when the cache breaks its promises.
 */

import assert from "node:assert/strict";
import { BlobNotFoundError } from "../storage/storage.ts";
import { BlobCache } from "./blob-cache.ts";
import type { BlobCacheInit, Cacheable, Handle, SetTimer } from "./cacheable.ts";

/** A blob whose arrival the test decides. */
export class FakeBlob implements Cacheable {
  readonly id: string;
  size: number | undefined;
  received = 0;
  readonly done: Promise<number>;
  arrived = false;
  failed = false;
  abandoned = false;
  closed = false;
  /** Handles that the test holds. */
  held = 0;
  readonly #disk: FakeDisk;
  readonly #resolve: (size: number) => void;
  readonly #reject: (error: Error) => void;

  constructor(disk: FakeDisk, id: string, size: number | undefined) {
    this.#disk = disk;
    this.id = id;
    this.size = size;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.done = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    promise.catch(() => {});
  }

  get inFlight(): boolean {
    return !this.arrived && !this.failed;
  }

  /** Commits the blob: its file is on the disk from now on. */
  arrive(size = this.size ?? 0): void {
    assert.ok(this.inFlight && !this.closed, "arrives once, while open");
    this.arrived = true;
    this.size = size;
    this.#disk.write(this.id, size);
    this.#resolve(size);
  }

  fail(error = new Error("the fetch failed")): void {
    if (!this.inFlight) return;
    this.failed = true;
    this.#reject(error);
  }

  abandon(): void {
    assert.ok(!this.abandoned, "abandoned once");
    this.abandoned = true;
    if (this.#disk.failsWhenAbandoned) this.fail(new Error("abandoned"));
  }

  async close(): Promise<void> {
    assert.ok(!this.closed, `${this.id} is closed once`);
    assert.equal(this.held, 0, `${this.id} is closed while held`);
    assert.ok(!this.inFlight, `${this.id} is closed in flight`);
    this.closed = true;
  }
}

/** Files by id. Removal takes a turn of the event loop, as on a disk. */
export class FakeDisk {
  readonly files = new Map<string, number>();
  readonly opened: FakeBlob[] = [];
  readonly removed: string[] = [];
  /** Ids whose removal is refused, or all. */
  refuses: ReadonlySet<string> | "all" = new Set();
  failsWhenAbandoned = true;
  /** Bytes in all, and those that others use. */
  total = 1_000_000;
  foreign = 0;
  /** How many times the free space was measured. */
  measured = 0;

  write(id: string, size: number): void {
    assert.ok(!this.files.has(id), `${id} is written while an earlier file of it exists`);
    this.files.set(id, size);
  }

  get used(): number {
    return this.foreign + [...this.files.values()].reduce((sum, size) => sum + size, 0);
  }

  async freeSpace(): Promise<{ free: number; total: number }> {
    this.measured++;
    return { free: Math.max(0, this.total - this.used), total: this.total };
  }

  async open(id: string): Promise<FakeBlob> {
    await turn();
    const size = this.files.get(id);
    if (size === undefined) throw new BlobNotFoundError(id);
    const blob = new FakeBlob(this, id, size);
    blob.arrived = true;
    this.opened.push(blob);
    return blob;
  }

  async remove(id: string): Promise<void> {
    await turn();
    this.removed.push(id);
    if (this.refuses === "all" || this.refuses.has(id)) throw new Error(`the disk refuses to remove ${id}`);
    if (!this.files.delete(id)) throw new BlobNotFoundError(id);
  }
}

/** Timers that fire when the test says so. */
export class FakeClock {
  readonly timers: { run: () => void; ms: number }[] = [];

  readonly setTimer: SetTimer = (run, ms) => {
    const timer = { run, ms };
    this.timers.push(timer);
    return {
      cancel: () => {
        const index = this.timers.indexOf(timer);
        if (index >= 0) this.timers.splice(index, 1);
      },
    };
  };

  /** Timers that wait for `ms`. */
  pending(ms: number): number {
    return this.timers.filter((timer) => timer.ms === ms).length;
  }

  /** Fires the timers of `ms`. @returns how many there were */
  fire(ms: number): number {
    const due = this.timers.filter((timer) => timer.ms === ms);
    for (const timer of due) {
      this.timers.splice(this.timers.indexOf(timer), 1);
      timer.run();
    }
    return due.length;
  }
}

/** Intervals that {@link fixture} uses, each unlike the others so that a test can fire just one. */
export const times = { abandon: 60_000, settle: 5_000, check: 7_000 };

/** A cache on a pretend disk and clock. */
export interface Fixture {
  readonly cache: BlobCache<FakeBlob>;
  readonly disk: FakeDisk;
  readonly clock: FakeClock;
  /** Ids in the order of the callbacks. */
  readonly committed: string[];
  readonly evicted: string[];
  readonly stayed: string[];
  /** What the cache warned of, with the error: promises broken inside callbacks end up here. */
  readonly warnings: string[];
  /** A committed blob of `size` bytes, held by nobody. */
  commit(id: string, size: number): Promise<void>;
  /** Acquires; a fetch that begins gives a blob of `size` bytes still to arrive. */
  acquire(id: string, size?: number): Promise<Handle<FakeBlob>>;
}

/** Makes a cache for a test. */
export function fixture(init: Partial<BlobCacheInit<FakeBlob>> = {}, disk = new FakeDisk()): Fixture {
  const clock = new FakeClock();
  const committed: string[] = [];
  const evicted: string[] = [];
  const stayed: string[] = [];
  const warnings: string[] = [];
  const cache = new BlobCache<FakeBlob>({
    limitSize: 100,
    minFree: () => 0,
    freeSpace: () => disk.freeSpace(),
    open: (id) => disk.open(id),
    remove: (id) => disk.remove(id),
    onCommit: (id) => void committed.push(id),
    onEvict: (id) => void evicted.push(id),
    onStay: (id) => void stayed.push(id),
    abandonAfterMs: times.abandon,
    settleTimeoutMs: times.settle,
    checkIntervalMs: times.check,
    setTimer: clock.setTimer,
    log: {
      debug() {},
      warn: (message, fields) => void warnings.push(`${message}: ${String(fields?.error)}`),
    },
    ...init,
  });
  const acquire = (id: string, size?: number) => cache.acquire(id, async () => new FakeBlob(disk, id, size));
  return {
    cache,
    disk,
    clock,
    committed,
    evicted,
    stayed,
    warnings,
    acquire,
    async commit(id, size) {
      const handle = await acquire(id, size);
      assert.equal(handle.source, "fetched");
      handle.blob.arrive();
      handle.release();
      await quiet();
    },
  };
}

/** A turn of the event loop: all microtasks have run. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Enough turns for anything the pretend disk has begun to end. */
export async function quiet(): Promise<void> {
  for (let count = 0; count < 8; count++) await turn();
}
