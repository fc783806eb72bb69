import assert from "node:assert/strict";
import { test } from "node:test";
import { requestLimits } from "./request-limits.ts";

const load = { peers: 7, gapMs: 40, latencyMs: 1, medianMs: 300 };

test("a dozen at near peers, one at each, one at the seeder", () => {
  assert.deepEqual(requestLimits(load), { window: 12, depth: 1, seeder: 1 });
  assert.deepEqual(requestLimits({ ...load, gapMs: undefined }), { window: 12, depth: 1, seeder: 1 });
  assert.equal(requestLimits({ ...load, peers: 3 }).seeder, 4, "few peers: it lives on the seeder");
});

test("blobs that come at once share the dozen", () => {
  assert.deepEqual(
    [1, 2, 4, 100].map((downloads) => requestLimits({ ...load, downloads }).window),
    [12, 6, 3, 3],
  );
});

test("what arrives until the first byte comes is asked for on top", () => {
  assert.deepEqual(requestLimits({ ...load, gapMs: 10, latencyMs: 80 }), { window: 28, depth: 2, seeder: 1 });
  assert.equal(requestLimits({ ...load, gapMs: 0, latencyMs: 1000 }).window, 64, "bounded");
});

test("on a long way there are several connections for one", () => {
  assert.deepEqual(requestLimits({ ...load, distanceMs: 4.9 }), { window: 12, depth: 1, seeder: 1 });
  assert.deepEqual(requestLimits({ ...load, distanceMs: 10 }), { window: 24, depth: 2, seeder: 1 });
  assert.deepEqual(requestLimits({ ...load, distanceMs: 20 }), { window: 48, depth: 4, seeder: 2 });
  assert.deepEqual(requestLimits({ ...load, distanceMs: 300 }), { window: 48, depth: 4, seeder: 2 }, "bounded");
});
