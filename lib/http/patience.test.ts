import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, mock, test } from "node:test";
import { afterPatience, type LoopMeter, withPatience } from "./patience.ts";

/** Tells these shares, one for each period. */
function told(...shares: number[]): LoopMeter {
  return { mark: () => () => shares.shift() ?? 0 };
}

describe("patience", () => {
  beforeEach(() => mock.timers.enable({ apis: ["setTimeout"] }));
  afterEach(() => mock.timers.reset());

  test("goes by the wall while this process has pauses", () => {
    const onLate = mock.fn();
    afterPatience(100, onLate, told(0.9));
    mock.timers.tick(99);
    assert.equal(onLate.mock.callCount(), 0);
    mock.timers.tick(1);
    assert.equal(onLate.mock.callCount(), 1);
  });

  test("does not count what this process was too busy to hear, up to three times the bound", () => {
    for (const [shares, periods] of [
      [[1, 0.5], 2],
      [[1, 1, 0.5], 3],
      [[1, 1, 1, 1, 1], 3],
    ] as const) {
      const onLate = mock.fn();
      afterPatience(100, onLate, told(...shares));
      for (let period = 1; period <= periods; period++) {
        assert.equal(onLate.mock.callCount(), 0);
        mock.timers.tick(100);
      }
      assert.equal(onLate.mock.callCount(), 1);
    }
  });

  test("ends when it is told to", () => {
    const onLate = mock.fn();
    const end = afterPatience(100, onLate, told(1));
    mock.timers.tick(100);
    end();
    mock.timers.tick(1000);
    assert.equal(onLate.mock.callCount(), 0);
  });
});

test("patience as a signal: aborts what runs too long, and leaves the rest alone", async () => {
  assert.equal(await withPatience(1000, async () => "in time"), "in time");
  const waiting = withPatience(
    5,
    (signal) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      }),
  );
  await assert.rejects(waiting, { name: "TimeoutError" });
});
