/**
 * Tests of virtual time.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Clock } from "./clock.ts";

test("lines and timers happen in the order of their times", () => {
  const clock = new Clock();
  const seen: string[] = [];
  const line = clock.line<string>(10, (item) => {
    seen.push(`${item}@${clock.now}`);
    if (item === "a") line.push("b");
  });
  clock.at(5, () => line.push("a"));
  clock.at(15, () => seen.push("timer"));
  clock.at(0, () => seen.push("first"));
  clock.after(25, () => seen.push("last"));
  assert.equal(
    clock.run(() => seen.length === 5, 1000),
    true,
  );
  assert.deepEqual(seen.slice(0, 3).sort(), ["a@15", "first", "timer"]);
  assert.deepEqual(seen.slice(3).sort(), ["b@25", "last"]);
  assert.equal(clock.now, 25);
});

test("a line grows and keeps its order", () => {
  const clock = new Clock();
  const seen: number[] = [];
  const line = clock.line<number>(1, (item) => seen.push(item));
  for (let round = 0; round < 5; round++) {
    clock.at(round / 10, () => {
      for (let item = 0; item < 50; item++) line.push(round * 50 + item);
    });
  }
  clock.run(() => false, 1000);
  assert.deepEqual(
    seen,
    Array.from({ length: 250 }, (_, index) => index),
  );
});

test("time stops when nothing is left or the end is reached", () => {
  const clock = new Clock();
  assert.equal(
    clock.run(() => false, 1000),
    false,
  );
  clock.at(50, () => {});
  assert.equal(
    clock.run(() => false, 40),
    false,
  );
  assert.equal(clock.now, 0);
});
