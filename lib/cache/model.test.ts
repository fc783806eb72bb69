/** @module A long random life of a cache, with what must always hold checked after every step. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CacheError, type Handle } from "./cacheable.ts";
import { FakeBlob, FakeDisk, fixture, quiet, times, turn } from "./fake-blobs.ts";

const limitSize = 1000;
const minFree = 300;

/** Mulberry32: the same seed gives the same life. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

async function live(seed: number, steps: number): Promise<void> {
  const next = random(seed);
  const pick = <T>(items: readonly T[]): T | undefined => items[next(items.length)];
  const disk = new FakeDisk();
  disk.total = 2_000;
  const ids = Array.from({ length: 14 }, (_, index) => `blob${index}`);
  const fetching = new Set<string>();
  const blobs = new Set<FakeBlob>();
  const holding: Handle<FakeBlob>[] = [];
  const tasks = new Set<Promise<void>>();
  /** Broken promises: thrown inside a callback they would only be logged. */
  const broken: string[] = [];
  /** Blobs that the cache no longer counts, held or not: their id may begin a new life. */
  const orphans = new WeakSet<FakeBlob>();
  let removing: string | undefined;
  let evictions = 0;

  const onEvict = (id: string) => {
    evictions++;
    if (id === removing) return;
    const held = holding.some(({ blob }) => blob.id === id && blob.arrived && !orphans.has(blob));
    if (held) broken.push(`${id} was evicted while held`);
  };
  const { cache, clock, committed, warnings } = fixture(
    { limitSize, keepOpen: 3, minFree: () => minFree, onEvict },
    disk,
  );

  const run = (work: () => Promise<void>) => {
    const task = work()
      .catch((error) => void broken.push(String(error)))
      .finally(() => tasks.delete(task));
    tasks.add(task);
  };
  const keep = (handle: Handle<FakeBlob>) => {
    assert.ok(!handle.blob.closed, "a handle of a closed blob");
    handle.blob.held++;
    holding.push(handle);
  };
  const fetch = async (id: string, signal: AbortSignal): Promise<FakeBlob> => {
    assert.ok(!fetching.has(id), `two fetches of ${id}`);
    assert.ok(!disk.files.has(id), `fetch of ${id}, which is on the disk`);
    fetching.add(id);
    try {
      for (let turns = next(4); turns > 0; turns--) await turn();
      if (signal.aborted && next(2) === 0) throw signal.reason;
      if (next(8) === 0) throw new Error("no source");
      const size = 1 + next(next(20) === 0 ? 1_500 : 300);
      const blob = new FakeBlob(disk, id, next(3) > 0 ? size : undefined);
      blobs.add(blob);
      blob.done.then(
        () => fetching.delete(id),
        () => fetching.delete(id),
      );
      return blob;
    } catch (error) {
      fetching.delete(id);
      throw error;
    }
  };
  const acquire = (id: string) => {
    const leaver = new AbortController();
    if (next(6) === 0) turn().then(() => leaver.abort(new Error("left")));
    run(async () => {
      try {
        keep(await cache.acquire(id, (signal) => fetch(id, signal), { signal: leaver.signal }));
      } catch (error) {
        const expected = error instanceof CacheError || /no source|left/.test(String(error));
        assert.ok(expected, String(error));
      }
    });
  };
  const release = (index: number) => {
    const [handle] = holding.splice(index, 1);
    if (!handle) return;
    handle.blob.held--;
    handle.release();
    if (next(4) === 0) handle.release();
  };

  const settle = async () => {
    const arriving = [...blobs].filter(({ inFlight }) => inFlight);
    const blob = pick(arriving);
    if (!blob) return;
    if (next(5) === 0) blob.fail();
    else blob.arrive(blob.size ?? 1 + next(300));
    if (blob.arrived && !cache.fits(blob.size ?? 0)) orphans.add(blob);
  };

  const step = async () => {
    const id = pick(ids)!;
    switch (next(11)) {
      case 0:
      case 1:
      case 2:
        return acquire(id);
      case 3:
        return run(async () => {
          const handle = await cache.peek(id);
          if (handle) keep(handle);
        });
      case 4:
      case 5:
        return release(next(holding.length));
      case 6:
      case 7:
        return settle();
      case 8:
        if (next(3) > 0) return;
        for (const { blob } of holding) if (blob.id === id && blob.arrived) orphans.add(blob);
        removing = id;
        run(async () => {
          await cache.remove(id);
        });
        removing = undefined;
        return;
      case 9:
        if (next(4) === 0) clock.fire(times.abandon);
        else disk.foreign = next(900);
        return;
      default:
        clock.fire(times.check);
        for (let turns = next(5); turns > 0; turns--) await turn();
    }
  };

  const check = () => {
    assert.deepEqual(broken, []);
    const unmet = warnings.filter((warning) => !warning.startsWith("the disk stays below"));
    assert.deepEqual(unmet, []);
    const known = [...cache.ids()];
    assert.equal(new Set(known).size, known.length);
    assert.equal(cache.count, known.length);
    let bytes = 0;
    for (const id of known) {
      assert.equal(cache.has(id), "committed");
      const size = disk.files.get(id);
      assert.ok(size !== undefined, `${id} is listed and not on the disk`);
      bytes += size;
    }
    assert.equal(cache.bytes, bytes);
    for (const blob of blobs) if (blob.closed) assert.equal(blob.held, 0);
  };

  for (let index = 0; index < steps; index++) {
    await step();
    check();
    if (next(3) === 0) await turn();
  }

  // The end: everything settles, everybody lets go.
  for (let round = 0; tasks.size > 0 || holding.length > 0 || [...blobs].some(({ inFlight }) => inFlight); round++) {
    assert.ok(round < 10_000, "the cache does not come to rest");
    await settle();
    if (holding.length > 0) release(0);
    await turn();
  }
  await quiet();
  await cache.check();
  check();
  assert.equal(cache.reserved, 0);
  assert.ok(cache.bytes <= limitSize, `${cache.bytes} bytes`);
  assert.deepEqual([...disk.files.keys()].sort(), [...cache.ids()].sort());
  const { free } = await disk.freeSpace();
  assert.ok(free >= minFree || cache.count === 0, `${free} bytes free`);
  assert.ok(committed.length > 0);
  assert.ok(evictions > 0);
  await cache.close();
  for (const blob of [...blobs, ...disk.opened]) assert.ok(blob.closed, `${blob.id} was left open`);
  assert.deepEqual(clock.timers, []);
  check();
}

describe("BlobCache: model", () => {
  for (let seed = 1; seed <= 30; seed++) it(`holds its promises for life ${seed}`, () => live(seed, 400));
});
