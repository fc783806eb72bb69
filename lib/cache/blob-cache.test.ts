/** @module Tests of fetches: single flight, joining, failing, leaving, abandoning, closing. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CacheError } from "./cacheable.ts";
import { FakeBlob, FakeDisk, fixture, quiet, times, turn } from "./fake-blobs.ts";

const hasCode = (code: string) => (error: unknown) => error instanceof CacheError && error.code === code;

describe("BlobCache: single flight", () => {
  it("1,000 callers at once begin one fetch", async () => {
    const { cache, disk } = fixture();
    let fetches = 0;
    const fetch = async () => {
      fetches++;
      await turn();
      return new FakeBlob(disk, "a", 10);
    };
    const handles = await Promise.all(Array.from({ length: 1000 }, () => cache.acquire("a", fetch)));
    assert.equal(fetches, 1);
    assert.equal(new Set(handles.map(({ blob }) => blob)).size, 1);
    assert.equal(handles.filter(({ source }) => source === "fetched").length, 1);
    assert.equal(handles.filter(({ source }) => source === "joined").length, 999);
    assert.equal(cache.has("a"), "active");
    const { blob } = handles[0]!;
    blob.arrive();
    await quiet();
    for (const handle of handles) handle.release();
    await quiet();
    assert.ok(blob.closed);
    assert.equal(cache.has("a"), "committed");
    assert.equal(cache.bytes, 10);
  });

  it("1,000 callers at once open a committed blob once", async () => {
    const { cache, disk, commit, acquire } = fixture();
    await commit("a", 10);
    const handles = await Promise.all(Array.from({ length: 1000 }, () => acquire("a")));
    assert.equal(disk.opened.length, 1);
    assert.ok(handles.every(({ source }) => source === "cache"));
    for (const handle of handles) handle.release();
    await cache.close();
    assert.ok(disk.opened[0]!.closed);
  });

  it("joins a fetch under way, and finds it committed later", async () => {
    const { cache, acquire, committed } = fixture();
    using first = await acquire("a", 10);
    using second = await acquire("a", 99);
    assert.equal(second.source, "joined");
    assert.equal(second.blob, first.blob);
    first.blob.arrive();
    await quiet();
    using third = await acquire("a");
    assert.equal(third.source, "cache");
    assert.equal(third.blob, first.blob);
    assert.deepEqual(committed, ["a"]);
    assert.deepEqual([...cache.ids()], ["a"]);
    assert.equal(cache.count, 1);
  });

  it("gives a failed fetch's error to all who wait, and tries anew for the next", async () => {
    const { cache, disk, acquire } = fixture();
    const cut = new Error("cut");
    const failing = () =>
      turn().then(() => {
        throw cut;
      });
    const results = await Promise.allSettled(Array.from({ length: 10 }, () => cache.acquire("a", failing)));
    for (const result of results) assert.equal(result.status === "rejected" && result.reason, cut);
    assert.equal(cache.has("a"), undefined);
    const throwing = (): Promise<FakeBlob> => {
      throw cut;
    };
    await assert.rejects(cache.acquire("a", throwing), cut);
    using handle = await acquire("a", 10);
    assert.equal(handle.source, "fetched");
    handle.blob.arrive();
    await quiet();
    assert.equal(disk.files.get("a"), 10);
  });

  it("tries anew after a blob failed in the middle, whose holders keep it", async () => {
    const { cache, acquire, committed } = fixture();
    const old = await acquire("a", 10);
    old.blob.fail();
    await quiet();
    assert.equal(cache.has("a"), undefined);
    assert.equal(cache.reserved, 0);
    assert.ok(!old.blob.closed);
    using anew = await acquire("a", 10);
    assert.equal(anew.source, "fetched");
    old.release();
    await quiet();
    assert.ok(old.blob.closed);
    assert.ok(!anew.blob.closed);
    assert.deepEqual(committed, []);
  });

  it("releases once, however often told", async () => {
    const { acquire } = fixture();
    const one = await acquire("a", 10);
    const two = await acquire("a");
    one.blob.arrive();
    await quiet();
    one.release();
    one.release();
    one[Symbol.dispose]();
    assert.ok(!two.blob.closed);
    two.release();
    assert.ok(two.blob.closed);
  });
});

describe("BlobCache: leaving and abandoning", () => {
  it("a caller that leaves fails nobody else", async () => {
    const { cache, disk } = fixture();
    const gate = Promise.withResolvers<FakeBlob>();
    const leaver = new AbortController();
    const leaving = cache.acquire("a", () => gate.promise, { signal: leaver.signal });
    const staying = cache.acquire("a", () => assert.fail("a second fetch"));
    await turn();
    leaver.abort(new Error("left"));
    await assert.rejects(leaving, /left/);
    gate.resolve(new FakeBlob(disk, "a", 10));
    const handle = await staying;
    handle.blob.arrive();
    await quiet();
    assert.equal(cache.has("a"), "committed");
    handle.release();
    await assert.rejects(cache.acquire("b", () => assert.fail(), { signal: AbortSignal.abort() }));
  });

  it("abandons after the grace time, and not before", async () => {
    const { cache, clock, acquire } = fixture();
    const handle = await acquire("a", 10);
    assert.equal(clock.pending(times.abandon), 0);
    handle.release();
    assert.equal(clock.pending(times.abandon), 1);
    assert.ok(!handle.blob.abandoned);
    assert.equal(cache.has("a"), "active");
    clock.fire(times.abandon);
    assert.ok(handle.blob.abandoned);
    await quiet();
    assert.ok(handle.blob.closed);
    assert.equal(cache.has("a"), undefined);
  });

  it("a caller within the grace time saves the fetch", async () => {
    const { clock, acquire } = fixture();
    const first = await acquire("a", 10);
    first.release();
    using second = await acquire("a");
    assert.equal(second.source, "joined");
    assert.equal(clock.pending(times.abandon), 0);
    second.blob.arrive();
  });

  it("a fetch without callers that ends within the grace time is kept", async () => {
    const { cache, clock, acquire } = fixture();
    const handle = await acquire("a", 10);
    handle.release();
    handle.blob.arrive();
    await quiet();
    assert.equal(clock.pending(times.abandon), 0);
    assert.ok(handle.blob.closed);
    assert.equal(cache.has("a"), "committed");
  });

  it("aborts the signal of a fetch that has given no blob", async () => {
    const { cache, clock, acquire } = fixture();
    const leaver = new AbortController();
    let fetchSignal: AbortSignal | undefined;
    const waiting = cache.acquire(
      "a",
      (signal) => {
        fetchSignal = signal;
        return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      },
      { signal: leaver.signal },
    );
    await turn();
    leaver.abort(new Error("left"));
    await assert.rejects(waiting, /left/);
    assert.equal(fetchSignal?.aborted, false);
    clock.fire(times.abandon);
    assert.ok(hasCode("abandoned")(fetchSignal?.reason));
    await quiet();
    assert.equal(cache.has("a"), undefined);
    (await acquire("a", 1)).release();
  });

  it("abandons a blob that comes although its fetch was aborted", async () => {
    const { cache, clock, disk } = fixture();
    const gate = Promise.withResolvers<FakeBlob>();
    const leaver = new AbortController();
    const waiting = cache.acquire("a", () => gate.promise, { signal: leaver.signal });
    await turn();
    leaver.abort();
    await assert.rejects(waiting);
    clock.fire(times.abandon);
    const blob = new FakeBlob(disk, "a", 10);
    gate.resolve(blob);
    await quiet();
    assert.ok(blob.abandoned && blob.closed);
  });

  it("the next fetch begins when the abandoned one has ended", async () => {
    const disk = new FakeDisk();
    disk.failsWhenAbandoned = false;
    const { cache, clock, acquire } = fixture({}, disk);
    const first = await acquire("a", 10);
    first.release();
    clock.fire(times.abandon);
    let began = false;
    const next = cache.acquire("a", async () => {
      began = true;
      return new FakeBlob(disk, "a", 10);
    });
    await quiet();
    assert.ok(!began);
    assert.equal(await cache.peek("a"), undefined);
    first.blob.fail();
    using handle = await next;
    assert.equal(handle.source, "fetched");
    assert.equal(clock.pending(times.settle), 0);
  });

  it("an abandoned fetch that arrives all the same is used", async () => {
    const disk = new FakeDisk();
    disk.failsWhenAbandoned = false;
    const { cache, clock, acquire } = fixture({}, disk);
    const first = await acquire("a", 10);
    first.release();
    clock.fire(times.abandon);
    const next = cache.acquire("a", () => assert.fail("a second fetch"));
    await quiet();
    first.blob.arrive();
    using handle = await next;
    assert.equal(handle.source, "cache");
  });

  it("does not wait for ever for an abandoned fetch", async () => {
    const disk = new FakeDisk();
    disk.failsWhenAbandoned = false;
    const { clock, acquire } = fixture({}, disk);
    const first = await acquire("a", 10);
    first.release();
    clock.fire(times.abandon);
    const next = acquire("a", 10);
    await quiet();
    assert.equal(clock.fire(times.settle), 1);
    await assert.rejects(next, hasCode("busy"));
  });
});

describe("BlobCache: peek", () => {
  it("sees committed and arriving blobs and begins no fetch", async () => {
    const { cache, acquire, commit } = fixture();
    assert.equal(await cache.peek("a"), undefined);
    await commit("a", 10);
    const committed = await cache.peek("a");
    assert.equal(committed?.source, "cache");
    committed?.release();
    using handle = await acquire("b", 10);
    const arriving = await cache.peek("b");
    assert.equal(arriving?.blob, handle.blob);
    assert.equal(arriving?.source, "joined");
    arriving?.release();
  });

  it("keeps a blob open but no fetch going", async () => {
    const { cache, clock, acquire } = fixture();
    const handle = await acquire("a", 10);
    const peeked = await cache.peek("a");
    handle.release();
    clock.fire(times.abandon);
    await quiet();
    assert.ok(handle.blob.abandoned && !handle.blob.closed);
    peeked?.release();
    assert.ok(handle.blob.closed);
  });

  it("finds nothing when the fetch it waited for fails", async () => {
    const { cache } = fixture();
    const gate = Promise.withResolvers<FakeBlob>();
    const acquiring = cache.acquire("a", () => gate.promise);
    await turn();
    const peeking = cache.peek("a");
    const leaver = new AbortController();
    const leaving = cache.peek("a", { signal: leaver.signal });
    await turn();
    leaver.abort(new Error("left"));
    await assert.rejects(leaving, /left/);
    gate.reject(new Error("no"));
    await assert.rejects(acquiring, /no/);
    assert.equal(await peeking, undefined);
  });
});

describe("BlobCache: open and close", () => {
  it("fetches anew what is missing from the disk", async () => {
    const { cache, disk, commit, acquire, evicted } = fixture();
    await commit("a", 10);
    disk.files.delete("a");
    using handle = await acquire("a", 10);
    assert.equal(handle.source, "fetched");
    assert.deepEqual(evicted, ["a"]);
    assert.equal(cache.bytes, 0);
    handle.blob.arrive();
    await quiet();
    assert.equal(cache.bytes, 10);
  });

  it("keeps an entry whose opening failed for another reason", async () => {
    let broken = true;
    const disk = new FakeDisk();
    const open = async (id: string) => {
      if (broken) throw new Error("too many open files");
      return disk.open(id);
    };
    const { cache, commit, acquire } = fixture({ open }, disk);
    await commit("a", 10);
    await assert.rejects(acquire("a"), /too many/);
    assert.equal(cache.has("a"), "committed");
    broken = false;
    using handle = await acquire("a");
    assert.equal(handle.source, "cache");
  });

  it("keeps a bounded number of reopened blobs open", async () => {
    const { cache, disk, commit, acquire } = fixture({ keepOpen: 2 });
    for (const id of ["a", "b", "c"]) await commit(id, 10);
    for (const id of ["a", "b", "c", "b", "a"]) (await acquire(id)).release();
    const open = () => disk.opened.filter(({ closed }) => !closed).map(({ id }) => id);
    assert.deepEqual(
      disk.opened.map(({ id }) => id),
      ["a", "b", "c", "a"],
    );
    assert.deepEqual(open().sort(), ["a", "b"]);
    await cache.close();
    assert.deepEqual(open(), []);
  });

  it("a caller that leaves during an opening leaves nothing open for ever", async () => {
    const { cache, disk, commit } = fixture({ keepOpen: 0 });
    await commit("a", 10);
    const leaver = new AbortController();
    const leaving = cache.acquire("a", () => assert.fail(), { signal: leaver.signal });
    leaver.abort(new Error("left"));
    await assert.rejects(leaving, /left/);
    await quiet();
    assert.ok(disk.opened.every(({ closed }) => closed));
  });

  it("closing abandons fetches, refuses callers and keeps files", async () => {
    const { cache, clock, disk, commit, acquire, evicted } = fixture({ minFree: () => 100 });
    await commit("a", 10);
    const held = await acquire("a");
    const arriving = await acquire("b", 10);
    const starting = cache.acquire(
      "c",
      (signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    );
    await turn();
    const closing = cache.close();
    await assert.rejects(starting, hasCode("closed"));
    await closing;
    await cache.close();
    assert.ok(arriving.blob.abandoned);
    await assert.rejects(acquire("a"), hasCode("closed"));
    assert.equal(await cache.peek("a"), undefined);
    assert.ok(!held.blob.closed);
    held.release();
    arriving.release();
    assert.ok(held.blob.closed && arriving.blob.closed);
    disk.foreign = disk.total;
    await cache.check();
    assert.deepEqual(evicted, []);
    assert.deepEqual([...disk.files.keys()], ["a"]);
    assert.deepEqual(clock.timers, []);
  });

  it("a blob whose closing fails is warned of", async () => {
    const { warnings, acquire } = fixture();
    const handle = await acquire("a", 10);
    handle.blob.close = async () => {
      throw new Error("bad descriptor");
    };
    handle.blob.arrive();
    await quiet();
    handle.release();
    await quiet();
    assert.deepEqual(warnings, ["closing a blob failed: Error: bad descriptor"]);
  });

  it("closing does not wait for ever", async () => {
    const disk = new FakeDisk();
    disk.failsWhenAbandoned = false;
    const { cache, clock, acquire } = fixture({}, disk);
    await acquire("a", 10);
    const closing = cache.close();
    await quiet();
    clock.fire(times.settle);
    await closing;
  });

  it("callbacks that throw upset nothing", async () => {
    const fail = () => {
      throw new Error("callback");
    };
    const { cache, disk, commit } = fixture({ onCommit: fail, onEvict: fail });
    await commit("a", 60);
    await commit("b", 60);
    assert.deepEqual([...cache.ids()], ["b"]);
    assert.deepEqual([...disk.files.keys()], ["b"]);
  });
});
