import assert from "node:assert/strict";
import { describe, mock, test } from "node:test";
import { afterPatience, type LoopMeter, withPatience } from "./patience.ts";

/** Tells these shares, one for each period. */
function told(...shares: number[]): LoopMeter {
  return { mark: () => () => shares.shift() ?? 0 };
}

describe("patience", () => {
  test("goes by the wall while this process has pauses", (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const onLate = mock.fn();
    afterPatience(100, onLate, told(0.9));
    t.mock.timers.tick(99);
    assert.equal(onLate.mock.callCount(), 0);
    t.mock.timers.tick(1);
    assert.equal(onLate.mock.callCount(), 1);
  });

  test("does not count what this process was too busy to hear, up to three times the bound", (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    for (const [shares, periods] of [
      [[1, 0.5], 2],
      [[1, 1, 0.5], 3],
      [[1, 1, 1, 1, 1], 3],
    ] as const) {
      const onLate = mock.fn();
      afterPatience(100, onLate, told(...shares));
      for (let period = 1; period <= periods; period++) {
        assert.equal(onLate.mock.callCount(), 0);
        t.mock.timers.tick(100);
      }
      assert.equal(onLate.mock.callCount(), 1);
    }
  });

  test("ends when it is told to", (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const onLate = mock.fn();
    const end = afterPatience(100, onLate, told(1));
    t.mock.timers.tick(100);
    end();
    t.mock.timers.tick(1000);
    assert.equal(onLate.mock.callCount(), 0);
  });

  test("as a signal: aborts what runs too long, and leaves the rest alone", async () => {
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
});
