/** @module Tests of the running median. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RunningMedian } from "./median.ts";
import { prng } from "./testing/blobs.ts";

test("the median of the latest values, whatever they are", () => {
  const random = prng(11);
  for (const window of [1, 2, 3, 31]) {
    const median = new RunningMedian(window);
    const all: number[] = [];
    assert.equal(median.value, undefined);
    for (let step = 0; step < 300; step++) {
      const value = Math.floor(random() * 20);
      all.push(value);
      median.add(value);
      const latest = all.slice(-window).sort((a, b) => a - b);
      assert.equal(median.value, latest[latest.length >> 1], `window ${window}, step ${step}`);
    }
  }
});
