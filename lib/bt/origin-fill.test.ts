/** @module Tests of what is read of an origin, and when it is left. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RateLimiter } from "./limiter.ts";
import { fillFromOrigin, type Origin, type OriginFillInit } from "./origin-fill.ts";
import { arriving, type TestBlob, tempDir, testBlob } from "./testing/blobs.ts";

function fill(origin: Origin, changes: Partial<OriginFillInit> = {}): OriginFillInit {
  return { origin, limiter: new RateLimiter(0), maxSize: 1e9, signal: new AbortController().signal, ...changes };
}

/** An origin that notes what it is asked for, and how many bytes of its answers were taken. */
function originOf(blob: TestBlob, { ranged = true, onRead }: { ranged?: boolean; onRead?: () => void } = {}) {
  const { size } = blob.layout;
  const asked: { start: number; end: number }[] = [];
  const took = { bytes: 0 };
  const origin: Origin = {
    name: "origin",
    async read({ start = 0, end = size, wholeUnlessRanged = false }) {
      asked.push({ start, end });
      onRead?.();
      const to = !ranged && wholeUnlessRanged ? size : Math.min(end, size);
      return {
        size,
        ranged,
        close() {},
        body: (async function* () {
          // Without Range it comes from the first byte on, and what was not asked for is thrown away.
          if (!ranged) took.bytes += start;
          for (let at = start; at < to; at += 1_000_000) {
            const part = blob.bytes.subarray(at, Math.min(to, at + 1_000_000));
            took.bytes += part.length;
            yield part;
          }
        })(),
      };
    },
  };
  return { origin, asked, took };
}

test("progress tells of bytes, not of whole pieces", async () => {
  await using dir = await tempDir();
  const blob = testBlob(3_000_000);
  const live = await arriving(blob, dir.path, { begun: false });
  const told: number[] = [];
  live.subscribe((change) => change.type === "progress" && told.push(change.bytes));
  const origin: Origin = {
    name: "origin",
    async read() {
      return {
        size: blob.layout.size,
        ranged: true,
        close() {},
        body: (async function* () {
          yield blob.bytes.subarray(0, 100_000);
          for (const end of [200_000, 300_000, blob.layout.size]) {
            await new Promise((resolve) => setTimeout(resolve, 260));
            yield blob.bytes.subarray(end === blob.layout.size ? 300_000 : end - 100_000, end);
          }
        })(),
      };
    },
  };
  await fillFromOrigin(live, fill(origin));
  assert.deepEqual(told.slice(0, 2), [200_000, 300_000]);
  assert.ok(told.every((bytes, index) => bytes >= (told[index - 1] ?? 0) && bytes <= blob.layout.size));
  await live.done;
  await live.close();
});

test("once others deliver, what has been begun is finished and no more is read; alone it is read to the end", async () => {
  const blob = testBlob(40_000_000, { seed: 2 });
  for (const begun of [true, false]) {
    await using dir = await tempDir();
    const live = await arriving(blob, dir.path, { begun });
    let deliver = false;
    const { origin, asked } = originOf(blob, {
      onRead: () => {
        deliver = true;
      },
    });
    await fillFromOrigin(live, fill(origin, { othersDeliver: () => deliver }));
    assert.ok(asked.length > 0 && asked.length <= 2, `${asked.length} ranges`);
    for (const { start, end } of asked) {
      for (let piece = blob.layout.pieceAt(start); piece <= blob.layout.pieceAt(end - 1); piece++) {
        assert.ok(live.have?.has(piece), `piece ${piece} was begun`);
      }
    }
    const { count } = live.have!;
    assert.ok(count < blob.layout.count);
    await fillFromOrigin(live, fill(origin, { othersDeliver: () => true }));
    assert.equal(live.have?.count, count, "they deliver already");
    await fillFromOrigin(live, fill(origin, { othersDeliver: () => false }));
    assert.ok(live.have?.full);
    await live.done;
    await live.close();
  }
});

test("an origin without Range is read once for all that is missing, wherever a reader waits", async () => {
  const blob = testBlob(40_000_000, { seed: 3 });
  const { count, size } = blob.layout;
  const held = [0, 1, 2, 30, count - 1];
  for (const position of [undefined, blob.layout.start(50)]) {
    await using dir = await tempDir();
    const live = await arriving(blob, dir.path);
    for (const piece of held) await live.store(piece, blob.piece(piece), "peer");
    if (position !== undefined) live.demand({ position, end: size, waitingSince: 1 });
    const { origin, asked, took } = originOf(blob, { ranged: false });
    await fillFromOrigin(live, fill(origin));
    await live.done;
    assert.equal(took.bytes, size);
    assert.equal(
      asked.length,
      position === undefined ? 1 : 2,
      "a range that would throw the beginning away is not read",
    );
    assert.equal(live.sourceOf(30), "peer");
    await live.close();
  }
});

test("an origin that ceases to honour Range is read to the end by one stream", async () => {
  await using dir = await tempDir();
  const blob = testBlob(60_000_000, { seed: 4 });
  const live = await arriving(blob, dir.path);
  const [before, after] = [originOf(blob), originOf(blob, { ranged: false })];
  const origin: Origin = {
    name: "origin",
    read: (range, signal) => (before.asked.length < 3 ? before : after).origin.read(range, signal),
  };
  await fillFromOrigin(live, fill(origin));
  await live.done;
  assert.equal(after.took.bytes, blob.layout.size, "of whole answers one was read");
  await live.close();
});

test("what is on its way to the disk is not read", async () => {
  const blob = testBlob(20_000_000, { seed: 3 });
  for (const ranged of [true, false]) {
    for (const missing of [[], [blob.layout.count - 1]]) {
      await using dir = await tempDir();
      const live = await arriving(blob, dir.path);
      const { origin, asked } = originOf(blob, { ranged });
      const writes: Promise<unknown>[] = [];
      for (let piece = 0; piece < blob.layout.count; piece++) {
        if (!missing.includes(piece)) writes.push(live.store(piece, blob.piece(piece), "peer"));
      }
      assert.equal(live.isWhole, missing.length === 0);
      await fillFromOrigin(live, fill(origin));
      assert.ok(live.have!.full && live.isWhole);
      const starts = new Set(asked.map(({ start }) => start));
      assert.deepEqual(
        [...starts],
        missing.map((piece) => blob.layout.start(piece)),
      );
      await Promise.all(writes);
      await live.done;
      await live.close();
    }
  }
});
