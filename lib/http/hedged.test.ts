/** @module Tests of questions that are asked once more. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { hedged } from "./hedged.ts";

const { signal } = new AbortController();

/** Answers in order; undefined: never, until nobody wants the answer. */
function asking(answers: readonly (string | Error | undefined)[]) {
  const signals: AbortSignal[] = [];
  const ask = (wanted: AbortSignal): Promise<string> => {
    const answer = answers[signals.push(wanted) - 1];
    if (answer instanceof Error) return Promise.reject(answer);
    if (answer !== undefined) return Promise.resolve(answer);
    return new Promise((_, reject) => wanted.addEventListener("abort", () => reject(wanted.reason)));
  };
  return { ask, signals };
}

test("an answer in time is the only one asked for", async () => {
  const { ask, signals } = asking(["one", "two"]);
  assert.equal(await hedged(ask, { afterMs: 10, signal }), "one");
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(signals.length, 1);
});

test("a failure in time is the answer", async () => {
  const { ask, signals } = asking([new Error("no"), "two"]);
  await assert.rejects(hedged(ask, { afterMs: 10, signal }), /no/);
  assert.equal(signals.length, 1);
});

test("silence is asked again, and given up when the other answers", async () => {
  const { ask, signals } = asking([undefined, "two"]);
  assert.equal(await hedged(ask, { afterMs: 10, signal }), "two");
  assert.ok(signals[0]!.aborted);
});

test("the second may fail, and the caller's signal ends both", async () => {
  const { ask } = asking([undefined, new Error("second")]);
  await assert.rejects(hedged(ask, { afterMs: 5, signal: AbortSignal.timeout(30) }), { name: "TimeoutError" });
});
