/** @module Tests of what is read of an origin, and when it is left. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RateLimiter } from "./limiter.ts";
import { fillFromOrigin, type Origin, type OriginFillInit } from "./origin-fill.ts";
import { arriving, tempDir, testBlob } from "./testing/blobs.ts";

function fill(origin: Origin, changes: Partial<OriginFillInit> = {}): OriginFillInit {
  return { origin, limiter: new RateLimiter(0), maxSize: 1e9, signal: new AbortController().signal, ...changes };
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
