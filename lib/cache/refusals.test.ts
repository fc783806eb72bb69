/** @module Tests of a disk that refuses removals: nothing is lost from the books, nothing from service, and it is tried again. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fixture, quiet } from "./fake-blobs.ts";

/** A cache whose clock the test moves, ms. */
function timed(init: Parameters<typeof fixture>[0] = {}) {
  const clock = { ms: 1000 };
  const pretend = fixture({ now: () => clock.ms, ...init });
  const look = async (afterMs = 5_001) => {
    clock.ms += afterMs;
    await pretend.cache.check();
    await quiet();
  };
  return { ...pretend, look };
}

describe("BlobCache: removals that the disk refuses", () => {
  it("a blob that was to make room stays, is served, and goes when the disk is well", async () => {
    const { cache, disk, commit, acquire, evicted, stayed, look, warnings } = timed();
    disk.refuses = "all";
    for (const id of ["a", "b", "c"]) await commit(id, 40);
    assert.deepEqual([evicted, stayed], [["a"], ["a"]]);
    assert.equal(cache.bytes, 120);
    const again = await acquire("a");
    assert.equal(again.source, "cache");
    again.release();
    disk.refuses = new Set();
    await look();
    assert.deepEqual([...cache.ids()], ["a", "c"]);
    assert.equal(cache.bytes, 80);
    assert.deepEqual([...disk.files.keys()], ["a", "c"]);
    assert.equal(warnings.length, 1);
  });

  it("evicts others when one alone is refused", async () => {
    const { cache, disk, commit, look } = timed();
    disk.refuses = new Set(["a"]);
    for (const id of ["a", "b", "c"]) await commit(id, 40);
    assert.equal(cache.bytes, 120);
    await look();
    assert.deepEqual([...cache.ids()], ["a", "c"]);
  });

  it("leaves the others alone for a while", async () => {
    const { cache, disk, commit, evicted, look, warnings } = timed();
    disk.refuses = "all";
    for (const id of ["a", "b", "c", "d", "e"]) await commit(id, 40);
    assert.deepEqual(evicted, ["a"]);
    await look(1000);
    assert.deepEqual(evicted, ["a"]);
    await look();
    assert.deepEqual(evicted, ["a", "b", "c", "a"]);
    assert.equal(cache.count, 5);
    assert.equal(warnings.length, 1, "said once");
  });

  it("counts what has left until its file is gone", async () => {
    const { cache, disk, commit, evicted, look } = timed();
    await commit("a", 40);
    disk.refuses = new Set(["a"]);
    await assert.rejects(cache.remove("a"), /refuses/);
    assert.equal(cache.has("a"), undefined);
    assert.deepEqual([cache.bytes, cache.remains], [0, 40]);
    await commit("b", 40);
    await commit("c", 20);
    assert.deepEqual(evicted, ["a"]);
    await look();
    assert.equal(cache.remains, 40);
    await commit("d", 30);
    assert.deepEqual(evicted, ["a"], "the disk has just refused");
    disk.refuses = new Set();
    await look();
    assert.equal(cache.remains, 0);
    assert.deepEqual([...disk.files.keys()], ["b", "c", "d"]);
  });

  it("tries blobs that nobody used again as well", async () => {
    const { cache, disk, commit, look } = timed({ ttlMs: 100 });
    await commit("a", 40);
    disk.refuses = "all";
    await look();
    assert.deepEqual([cache.count, cache.remains], [0, 40]);
    disk.refuses = new Set();
    await look();
    assert.deepEqual([disk.files.size, cache.remains], [0, 0]);
  });

  it("forgets remains that are written over", async () => {
    const { cache, disk, commit, acquire } = timed();
    await commit("a", 40);
    disk.refuses = "all";
    await cache.remove("a").catch(() => {});
    // As a rename does.
    disk.files.delete("a");
    const handle = await acquire("a", 50);
    handle.blob.arrive();
    handle.release();
    await quiet();
    assert.deepEqual([cache.bytes, cache.remains], [50, 0]);
  });

  it("removes nothing that arrives anew", async () => {
    const { cache, disk, commit, acquire, look } = timed();
    await commit("a", 40);
    disk.refuses = "all";
    await cache.remove("a").catch(() => {});
    disk.files.delete("a");
    disk.refuses = new Set();
    const handle = await acquire("a", 40);
    await look();
    assert.deepEqual(disk.removed, ["a"]);
    handle.blob.fail();
    handle.release();
    await quiet();
    await look();
    assert.deepEqual([disk.removed, cache.remains], [["a", "a"], 0]);
  });
});
