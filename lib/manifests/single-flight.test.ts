/** @module Tests of single flight. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SingleFlight } from "./single-flight.ts";

const live = new AbortController().signal;

test("one piece of work for all who want the same at the same time", async () => {
  const flights = new SingleFlight<number>();
  let begun = 0;
  const work = async () => {
    begun++;
    await new Promise((resolve) => setTimeout(resolve, 5));
    return begun;
  };
  assert.deepEqual(await Promise.all(["a", "a", "b", "a"].map((key) => flights.join(key, work, live))), [2, 2, 2, 2]);
  assert.equal(begun, 2);
  await flights.join("a", work, live);
  assert.equal(begun, 3, "what has landed is not joined");
});

test("who leaves disturbs nobody; the last one ends it", async () => {
  const flights = new SingleFlight<string>();
  const signals: AbortSignal[] = [];
  const { promise, resolve } = Promise.withResolvers<string>();
  const work = (signal: AbortSignal) => {
    signals.push(signal);
    return promise;
  };
  const [first, second, third] = [new AbortController(), new AbortController(), new AbortController()];
  const leaving = flights.join("a", work, first.signal);
  const staying = flights.join("a", work, second.signal);
  first.abort(new Error("left"));
  await assert.rejects(leaving, /left/);
  assert.equal(signals[0]?.aborted, false);
  second.abort(new Error("left too"));
  await assert.rejects(staying, /left too/);
  assert.equal(signals[0]?.aborted, true);
  const fresh = flights.join("a", work, third.signal);
  assert.equal(signals.length, 2, "what was given up is not joined");
  resolve("done");
  assert.equal(await fresh, "done");
  await assert.rejects(flights.join("b", work, AbortSignal.abort(new Error("never came"))), /never came/);
  assert.equal(signals.length, 2);
});

test("all hear of a failure, and the next one tries anew", async () => {
  const flights = new SingleFlight<number>();
  const fail = () => Promise.reject(new Error("no"));
  const both = await Promise.allSettled([flights.join("a", fail, live), flights.join("a", fail, live)]);
  assert.ok(both.every(({ status }) => status === "rejected"));
  assert.equal(await flights.join("a", async () => 1, live), 1);
});
