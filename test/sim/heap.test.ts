/**
 * Tests of the order of events.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Heap } from "./heap.ts";
import { seededRandom } from "./random.ts";

test("ids come out by time, wherever they were moved", () => {
  const random = seededRandom(1);
  const heap = new Heap();
  const model = new Map<number, number>();
  for (let step = 0; step < 20_000; step++) {
    const id = Math.floor(random() * 3000);
    const what = random();
    if (what < 0.6) {
      const time = Math.floor(random() * 1000);
      heap.set(id, time);
      model.set(id, time);
    } else if (what < 0.7) {
      heap.delete(id);
      model.delete(id);
    } else if (model.size > 0) {
      const least = Math.min(...model.values());
      assert.equal(heap.firstTime, least);
      const first = heap.shift();
      assert.equal(model.get(first), least);
      model.delete(first);
    }
    assert.equal(heap.size, model.size);
    assert.equal(heap.timeOf(id), model.get(id) ?? Number.POSITIVE_INFINITY);
  }
});
