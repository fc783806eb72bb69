/** @module Tests of what stays: order of use, pins, limit, reserved bytes, watermark, restart. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FakeBlob, FakeDisk, fixture, quiet, times, turn } from "./fake-blobs.ts";

describe("BlobCache: limit", () => {
  it("evicts the least recently used first", async () => {
    const { cache, disk, commit, acquire, evicted } = fixture();
    for (const id of ["a", "b", "c"]) await commit(id, 30);
    (await acquire("a")).release();
    await commit("d", 30);
    assert.deepEqual(evicted, ["b"]);
    await commit("e", 50);
    assert.deepEqual(evicted, ["b", "c", "a"]);
    assert.deepEqual([...cache.ids()], ["e", "d"]);
    assert.deepEqual([...disk.files.keys()].sort(), ["d", "e"]);
    assert.equal(cache.bytes, 80);
    assert.equal(cache.count, 2);
  });

  it("counts a held blob as used until it is released", async () => {
    const { commit, acquire, evicted } = fixture();
    await commit("a", 40);
    const held = await acquire("a");
    await commit("b", 40);
    held.release();
    await commit("c", 40);
    assert.deepEqual(evicted, ["b"]);
  });

  it("skips pinned blobs, and catches up when they are released", async () => {
    const { cache, commit, acquire, evicted } = fixture();
    await commit("a", 50);
    await commit("b", 50);
    const held = await Promise.all([acquire("a"), acquire("b")]);
    const c = await acquire("c", 60);
    c.blob.arrive();
    await quiet();
    assert.deepEqual(evicted, []);
    assert.equal(cache.bytes, 160);
    held[1].release();
    assert.deepEqual(evicted, ["b"]);
    c.release();
    assert.deepEqual(evicted, ["b", "c"]);
    held[0].release();
    assert.deepEqual(evicted, ["b", "c"]);
    assert.equal(cache.bytes, 50);
  });

  it("removing a held blob leaves its handle working, and a new fetch its own life", async () => {
    const { cache, disk, commit, acquire, evicted } = fixture();
    await commit("a", 50);
    const held = await acquire("a");
    assert.equal(await cache.remove("a"), true);
    assert.equal(await cache.remove("a"), false);
    assert.deepEqual(evicted, ["a"]);
    assert.equal(cache.bytes, 0);
    assert.ok(!held.blob.closed);
    assert.ok(!disk.files.has("a"));
    using anew = await acquire("a", 50);
    assert.equal(anew.source, "fetched");
    anew.blob.arrive();
    await quiet();
    held.release();
    assert.ok(held.blob.closed && !anew.blob.closed);
    assert.equal(cache.has("a"), "committed");
  });

  it("leaves an arriving blob alone when told to remove it", async () => {
    const { cache, acquire } = fixture();
    using handle = await acquire("a", 50);
    assert.equal(await cache.remove("a"), false);
    assert.ok(!handle.blob.abandoned);
  });

  it("a fetch waits for the removal of the file it will write", async () => {
    const { commit, acquire, cache, disk } = fixture();
    await commit("a", 50);
    const removing = cache.remove("a");
    // The pretend disk refuses to write over a file.
    const handle = await acquire("a", 50);
    handle.blob.arrive();
    await removing;
    await quiet();
    assert.deepEqual([...disk.files.keys()], ["a"]);
    handle.release();
  });

  it("tells the error of a removal by hand, and drops the entry", async () => {
    const remove = async () => {
      throw new Error("read-only");
    };
    const { cache, commit } = fixture({ remove });
    await commit("a", 50);
    await assert.rejects(cache.remove("a"), /read-only/);
    assert.equal(cache.has("a"), undefined);
  });

  it("reserves the bytes of arriving blobs when they are known", async () => {
    const { cache, commit, acquire, evicted } = fixture();
    await commit("a", 40);
    await commit("b", 40);
    using c = await acquire("c", 50);
    assert.equal(cache.reserved, 50);
    assert.deepEqual(evicted, ["a"]);
    using d = await acquire("d");
    assert.deepEqual(evicted, ["a"]);
    d.blob.size = 20;
    assert.equal(cache.reserved, 70);
    await cache.check();
    assert.deepEqual(evicted, ["a", "b"]);
    c.blob.fail();
    await quiet();
    assert.equal(cache.reserved, 20);
  });

  it("keeps no blob larger than the limit, and evicts nothing for it", async () => {
    const { cache, disk, commit, acquire, evicted, committed } = fixture();
    assert.ok(cache.fits(0) && cache.fits(100) && !cache.fits(101) && !cache.fits(-1) && !cache.fits(Number.NaN));
    await commit("a", 100);
    const big = await acquire("big", 101);
    assert.equal(cache.reserved, 0);
    big.blob.arrive();
    await quiet();
    assert.equal(cache.has("big"), undefined);
    assert.ok(!big.blob.closed);
    big.release();
    await quiet();
    assert.ok(big.blob.closed);
    assert.deepEqual([...disk.files.keys()], ["a"]);
    assert.deepEqual(evicted, []);
    assert.deepEqual(committed, ["a"]);
  });

  it("makes no entry for an empty blob", async () => {
    const { cache, disk, acquire } = fixture();
    const handle = await acquire("empty", 0);
    handle.blob.arrive();
    handle.release();
    await quiet();
    assert.equal(cache.has("empty"), undefined);
    assert.equal(disk.files.size, 0);
    assert.ok(handle.blob.closed);
  });
});

describe("BlobCache: watermark", () => {
  it("evicts until enough of the disk is free", async () => {
    const disk = new FakeDisk();
    disk.total = 1000;
    const { cache, commit, evicted, clock } = fixture({ limitSize: 900, minFree: (total) => total * 0.1 }, disk);
    for (const id of ["a", "b", "c"]) await commit(id, 100);
    assert.deepEqual(evicted, []);
    disk.foreign = 650;
    clock.fire(times.check);
    await quiet();
    assert.deepEqual(evicted, ["a"]);
    disk.foreign = 0;
    await cache.check();
    assert.deepEqual(evicted, ["a"]);
    assert.equal(clock.pending(times.check), 1);
    await cache.close();
    assert.equal(clock.pending(times.check), 0);
  });

  it("leaves room for what has still to arrive", async () => {
    const disk = new FakeDisk();
    disk.total = 1000;
    const { commit, evicted, acquire } = fixture({ limitSize: 2000, minFree: () => 100 }, disk);
    await commit("a", 300);
    await commit("b", 300);
    using c = await acquire("c", 500);
    await quiet();
    assert.deepEqual(evicted, ["a"]);
    // What has arrived is measured already.
    c.blob.received = 450;
    disk.foreign = 450;
    using d = await acquire("d", 40);
    await quiet();
    assert.deepEqual(evicted, ["a"]);
    assert.ok(d);
  });

  it("does not count a removal that is under way twice", async () => {
    const disk = new FakeDisk();
    disk.total = 400;
    const { cache, commit, evicted } = fixture({ limitSize: 400, minFree: () => 100 }, disk);
    for (const id of ["a", "b", "c"]) await commit(id, 100);
    assert.deepEqual(evicted, []);
    disk.foreign = 50;
    await Promise.all([cache.check(), cache.check(), turn().then(() => cache.check()), cache.check()]);
    assert.deepEqual(evicted, ["a"]);
  });

  it("goes on when the disk cannot be measured, or is full of other things", async () => {
    const disk = new FakeDisk();
    let broken = true;
    const freeSpace = async () => {
      if (broken) throw new Error("no statfs");
      return disk.freeSpace();
    };
    const { cache, commit, acquire, evicted } = fixture({ freeSpace, minFree: () => 10 }, disk);
    await commit("a", 10);
    broken = false;
    disk.foreign = disk.total;
    using held = await acquire("a");
    await cache.check();
    assert.deepEqual(evicted, []);
    held.release();
    await cache.check();
    assert.deepEqual(evicted, ["a"]);
  });
});

describe("BlobCache: restart", () => {
  async function* listing(...entries: [id: string, size: number, modifiedMs: number, lastUsedMs?: number][]) {
    for (const [id, size, modifiedMs, lastUsedMs] of entries) {
      await turn();
      yield { id, size, modifiedMs, ...(lastUsedMs !== undefined && { lastUsedMs }) };
    }
  }

  it("orders by last use, and drops the oldest of too many", async () => {
    const disk = new FakeDisk();
    for (const id of ["a", "b", "c", "d"]) disk.write(id, 30);
    const { cache, evicted, committed } = fixture({}, disk);
    await cache.load(listing(["c", 30, 3], ["a", 30, 1], ["d", 30, 0, 9], ["b", 30, 2]));
    assert.deepEqual([...cache.ids()], ["d", "c", "b"]);
    assert.deepEqual(evicted, ["a"]);
    assert.deepEqual(committed, []);
    assert.deepEqual([...disk.files.keys()], ["b", "c", "d"]);
    using handle = await cache.acquire("b", () => assert.fail("fetched again"));
    assert.equal(handle.source, "cache");
  });

  it("removes what can not be kept", async () => {
    const disk = new FakeDisk();
    disk.write("empty", 0);
    disk.write("big", 101);
    disk.write("a", 5);
    const { cache } = fixture({}, disk);
    await cache.load(listing(["empty", 0, 1], ["big", 101, 2], ["a", 5, 3]));
    assert.deepEqual([...cache.ids()], ["a"]);
    assert.deepEqual([...disk.files.keys()], ["a"]);
  });

  it("leaves alone what began to arrive meanwhile", async () => {
    const disk = new FakeDisk();
    const { cache } = fixture({}, disk);
    const loading = cache.load(listing(["x", 1, 1], ["a", 10, 2]));
    using handle = await cache.acquire("a", async () => new FakeBlob(disk, "a", 10));
    await loading;
    assert.equal(cache.has("a"), "active");
    handle.blob.arrive();
    await quiet();
    assert.equal(cache.bytes, 11);
  });
});
