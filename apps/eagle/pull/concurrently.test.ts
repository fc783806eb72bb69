/**
 * @module A few things at a time.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { concurrently } from "./concurrently.ts";

test("all items, never more than the limit at once", async () => {
  let running = 0;
  let most = 0;
  const done: number[] = [];
  await concurrently([1, 2, 3, 4, 5, 6, 7], { limit: 3 }, async (item) => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
    done.push(item);
  });
  assert.equal(most, 3);
  assert.deepEqual(done.toSorted(), [1, 2, 3, 4, 5, 6, 7]);
});

test("the first failure is thrown, ends the others, and begins nothing more", async () => {
  const begun: number[] = [];
  const run = concurrently([1, 2, 3, 4], { limit: 2 }, async (item, signal) => {
    begun.push(item);
    if (item === 2) throw new Error("two");
    await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  });
  await assert.rejects(run, /two/);
  assert.deepEqual(begun, [1, 2]);
});

test("the caller's signal ends it with its reason", async () => {
  const controller = new AbortController();
  const run = concurrently([1], { limit: 1, signal: controller.signal }, async (_, signal) => {
    controller.abort(new Error("left"));
    signal.throwIfAborted();
  });
  await assert.rejects(run, /left/);
});
