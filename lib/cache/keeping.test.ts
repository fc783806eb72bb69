/** @module Tests of what is taken in and kept: room on the disk, unused blobs, notes of use, scraps. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { LeaveReason } from "./cacheable.ts";
import { FakeDisk, fixture, quiet, times, turn } from "./fake-blobs.ts";

/** A clock that the test moves, ms. */
function manualClock(start = 1000) {
  const clock = { ms: start, now: () => clock.ms };
  return clock;
}

describe("BlobCache: room", () => {
  it("takes in what fits beside what is held, what arrives and what shall stay free", async () => {
    const disk = new FakeDisk();
    disk.total = 1000;
    const { cache, commit, acquire } = fixture({ limitSize: 5000, minFree: () => 100 }, disk);
    assert.ok(cache.admits(5000), "nothing is known of the disk yet");
    await commit("a", 300);
    await commit("b", 200);
    // 400 are free above the watermark, and 500 can be evicted.
    assert.ok(cache.admits(900) && !cache.admits(901));
    assert.ok(cache.admits(1000, { present: 100 }), "a part of it is there");
    using held = await acquire("a");
    assert.ok(cache.admits(600) && !cache.admits(601));
    using arriving = await acquire("c", 350);
    await quiet();
    assert.ok(cache.admits(250) && !cache.admits(251));
    arriving.blob.received = 350;
    disk.foreign = 350;
    await cache.check();
    assert.ok(cache.admits(250) && !cache.admits(251), "what has arrived is not counted twice");
    held.release();
    assert.ok(cache.admits(550) && !cache.admits(551));
    assert.equal(await cache.remove("b"), true);
    await cache.check();
    assert.ok(cache.admits(550) && !cache.admits(551), "removed or evictable: as much can come");
  });

  it("counts a held blob once, however it is held, and not when it has left", async () => {
    const disk = new FakeDisk();
    disk.total = 1000;
    const { cache, commit, acquire } = fixture({ limitSize: 1000 }, disk);
    await commit("a", 600);
    const holds = [await acquire("a"), await acquire("a")];
    assert.ok(cache.admits(400) && !cache.admits(401));
    await cache.remove("a");
    for (const hold of holds) hold.release();
    await cache.check();
    assert.ok(cache.admits(1000));
  });

  it("takes in by its limit alone where the disk cannot be measured", async () => {
    const { cache } = fixture({ freeSpace: () => Promise.reject(new Error("no statfs")) });
    await cache.check();
    assert.ok(cache.admits(100) && !cache.admits(101));
  });

  it("gives up scraps before any blob", async () => {
    let bytes = 70;
    const scraps = {
      get bytes() {
        return bytes;
      },
      evict(wanted: number) {
        const freed = Math.min(bytes, Math.ceil(wanted / 10) * 10);
        bytes -= freed;
        return freed;
      },
      removed: () => turn(),
    };
    const { cache, commit, evicted } = fixture({ limitSize: 100, scraps });
    await commit("a", 40);
    assert.deepEqual([bytes, evicted], [60, []]);
    await commit("b", 55);
    assert.deepEqual([bytes, evicted], [0, []]);
    await commit("c", 10);
    assert.deepEqual(evicted, ["a"]);
    assert.equal(cache.bytes, 65);
  });

  it("says why a blob leaves", async () => {
    const reasons: [string, LeaveReason][] = [];
    const disk = new FakeDisk();
    disk.total = 1000;
    const clock = manualClock();
    const onEvict = (id: string, { reason }: { reason: LeaveReason }) => void reasons.push([id, reason]);
    const init = { onEvict, ttlMs: 500, now: clock.now, minFree: () => 50 };
    const { cache, commit, acquire } = fixture(init, disk);
    for (const id of ["a", "b", "c", "d", "e"]) await commit(id, 20);
    await commit("f", 20);
    await cache.remove("b");
    disk.foreign = 880;
    await cache.check();
    disk.foreign = 0;
    disk.files.delete("d");
    (await acquire("d", 20)).blob.arrive();
    await quiet();
    clock.ms += 501;
    await cache.check();
    assert.deepEqual(reasons, [
      ["a", "limit"],
      ["b", "removed"],
      ["c", "disk"],
      ["d", "missing"],
      ["e", "unused"],
      ["f", "unused"],
    ]);
  });
});

describe("BlobCache: unused blobs", () => {
  it("drops what nobody used for too long, never what is held", async () => {
    const clock = manualClock();
    const { cache, commit, acquire, evicted } = fixture({ ttlMs: 100, now: clock.now });
    for (const id of ["a", "b", "c"]) await commit(id, 10);
    using held = await acquire("a");
    clock.ms += 60;
    (await acquire("b")).release();
    clock.ms += 60;
    await cache.check();
    assert.deepEqual(evicted, ["c"]);
    assert.equal(cache.unusedMs("b"), 60);
    assert.equal(cache.unusedMs("c"), undefined);
    clock.ms += 60;
    await cache.check();
    assert.deepEqual(evicted, ["c", "b"]);
    held.release();
    await cache.check();
    assert.equal(cache.has("a"), "committed", "its time begins when it is let go");
  });

  it("counts the time before this process, whatever the clock did", async () => {
    const clock = manualClock(5);
    const disk = new FakeDisk();
    for (const id of ["old", "young", "future"]) disk.write(id, 10);
    const init = { ttlMs: 1000, now: clock.now, wallNow: () => 1_000_000 };
    const { cache, evicted } = fixture(init, disk);
    async function* listing() {
      yield { id: "old", size: 10, modifiedMs: 1, lastUsedMs: 998_999 };
      yield { id: "young", size: 10, modifiedMs: 1, lastUsedMs: 999_500 };
      yield { id: "future", size: 10, modifiedMs: 9_000_000 };
    }
    await cache.load(listing());
    assert.deepEqual(evicted, ["old"]);
    assert.equal(cache.unusedMs("young"), 500);
    assert.equal(cache.unusedMs("future"), 0);
    clock.ms += 501;
    await cache.check();
    assert.deepEqual(evicted, ["old", "young"]);
  });
});

describe("BlobCache: notes of use", () => {
  it("notes each used blob once an interval, and what is left at the end", async () => {
    const clock = manualClock();
    const notes: [string, number][] = [];
    const touch = async (id: string, agoMs: number) => {
      notes.push([id, agoMs]);
      await turn();
      if (id === "b") throw new Error("read-only");
    };
    const { cache, commit, acquire, clock: timers, warnings } = fixture({ touch, now: clock.now });
    for (const id of ["a", "b", "c", "d"]) await commit(id, 10);
    notes.length = 0;
    timers.fire(60_000);
    await quiet();
    notes.length = 0;
    for (const id of ["a", "a", "b", "d", "a"]) (await acquire(id)).release();
    clock.ms += 30;
    (await acquire("a")).release();
    await cache.remove("d");
    assert.deepEqual(notes, [], "not at each use");
    clock.ms += 12;
    assert.equal(timers.pending(60_000), 1);
    timers.fire(60_000);
    await quiet();
    assert.deepEqual(notes, [
      ["a", 12],
      ["b", 42],
    ]);
    assert.equal(timers.pending(60_000), 0);
    (await acquire("c")).release();
    await cache.close();
    assert.deepEqual(notes.slice(2), [["c", 0]]);
    assert.equal(timers.pending(60_000), 0);
    assert.deepEqual(warnings, []);
  });

  it("does without them", async () => {
    const { cache, commit, clock } = fixture();
    await commit("a", 10);
    assert.equal(clock.pending(60_000), 0);
    assert.equal(clock.pending(times.check), 1);
    await cache.close();
  });
});
