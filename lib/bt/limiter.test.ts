/** @module Tests of the rate limiter. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RateLimiter } from "./limiter.ts";
import { turns } from "./testing/blobs.ts";

/** A limiter on a clock that the test moves. Its timers are real, so waits are for milliseconds. */
function clocked(rate: number, burst: number) {
  const clock = { now: 0 };
  return { clock, limiter: new RateLimiter(rate, { burst, now: () => clock.now }) };
}

test("no rate is no limit", async () => {
  const limiter = new RateLimiter(0);
  assert.equal(limiter.limited, false);
  await limiter.take(Number.MAX_SAFE_INTEGER);
  await limiter.take(1);
});

test("a burst goes at once, the next waits until it is paid for", async () => {
  const { clock, limiter } = clocked(1000, 100);
  await limiter.take(500);
  let gone = false;
  const second = limiter.take(1).then(() => {
    gone = true;
  });
  await turns();
  assert.equal(gone, false, "400 bytes of debt at 1000 bytes/s");
  clock.now = 401;
  await second;
});

test("over any time no more than rate x time + burst + one request goes", async () => {
  const { clock, limiter } = clocked(100_000, 1000);
  let bytes = 0;
  const worker = async () => {
    for (let count = 0; count < 20; count++) {
      await limiter.take(500);
      bytes += 500;
      assert.ok(bytes <= 100_000 * (clock.now / 1000) + 1000 + 500, `${bytes} at ${clock.now}`);
    }
  };
  const clockwork = setInterval(() => {
    clock.now += 5;
  }, 1);
  await Promise.all([worker(), worker(), worker()]);
  clearInterval(clockwork);
  assert.equal(bytes, 30_000);
});

test("those who wait are served in order, a small request does not pass a large one", async () => {
  const { clock, limiter } = clocked(1000, 10);
  await limiter.take(100);
  const order: string[] = [];
  const large = limiter.take(1000).then(() => order.push("large"));
  const small = limiter.take(1).then(() => order.push("small"));
  clock.now = 91;
  await large;
  assert.deepEqual(order, ["large"]);
  clock.now = 5000;
  await small;
});

test("one that gives up takes nothing and lets the next through", async () => {
  const { clock, limiter } = clocked(1000, 10);
  await limiter.take(50);
  const abort = new AbortController();
  const first = limiter.take(1_000_000, abort.signal);
  const second = limiter.take(5);
  abort.abort(new Error("enough"));
  await assert.rejects(first, /enough/);
  clock.now = 100;
  await second;
  await assert.rejects(limiter.take(1, abort.signal), /enough/);
});

test("a debt of years neither spins nor keeps the process once nobody waits", async () => {
  const { limiter } = clocked(1, 1);
  await limiter.take(2 ** 40);
  const abort = new AbortController();
  const waiting = limiter.take(1, abort.signal);
  let gone = false;
  waiting.then(
    () => {
      gone = true;
    },
    () => {},
  );
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(gone, false);
  abort.abort();
  await assert.rejects(waiting);
});

test("charge() counts what went without asking", async () => {
  const { clock, limiter } = clocked(1000, 100);
  limiter.charge(300);
  let gone = false;
  const waiting = limiter.take(1).then(() => {
    gone = true;
  });
  await turns();
  assert.equal(gone, false);
  clock.now = 300;
  await waiting;
});
