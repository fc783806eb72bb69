/** @module Tests of the rate limiter. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RateLimiter, RESERVE, type Turn } from "./limiter.ts";
import { turns } from "./testing/blobs.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** A limiter on a clock that the test moves. */
function clocked(rate: number, burst = rate / 10) {
  const clock = { now: 0 };
  const limiter = new RateLimiter(rate, { burst, now: () => clock.now });
  /** Moves the clock, 1 ms after the other; who was let go asks again in between. */
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed++) {
      clock.now += 1;
      limiter.charge(0);
      await turns(1);
    }
  };
  return { clock, limiter, pass };
}

/** Askers that take again and again until they are stopped. */
class Askers implements Disposable {
  /** Bytes by key. */
  readonly got: Record<string, number> = {};
  readonly #limiter: RateLimiter;
  readonly #stop = new AbortController();

  constructor(limiter: RateLimiter) {
    this.#limiter = limiter;
  }

  /** @param turn.pause Turns of the event loop before it asks again. */
  add(count: number, bytes: number, { key, pause = 0, ...turn }: Turn & { key: string; pause?: number }): void {
    this.got[key] ??= 0;
    for (let index = 0; index < count; index++) void this.#ask(bytes, { key, pause, ...turn });
  }

  get total(): number {
    return Object.values(this.got).reduce((sum, bytes) => sum + bytes, 0);
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }

  async #ask(bytes: number, { pause, ...turn }: Turn & { key: string; pause: number }): Promise<void> {
    const { signal } = this.#stop;
    try {
      for (;;) {
        await this.#limiter.take(bytes, { ...turn, signal });
        this.got[turn.key]! += bytes;
        await turns(pause);
      }
    } catch (error) {
      assert.equal(error, signal.reason);
    }
  }
}

function assertNear(actual: number, expected: number, within: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= within, `${what}: ${actual}, expected ${expected} +- ${within}`);
}

test("no rate is no limit", async () => {
  const limiter = new RateLimiter(0);
  assert.equal(limiter.limited, false);
  await limiter.take(Number.MAX_SAFE_INTEGER);
  await limiter.take(1);
});

test("a burst goes at once, the next waits until it is paid for", async () => {
  const { limiter, pass } = clocked(1000, 100);
  await limiter.take(100);
  let gone = false;
  const second = limiter.take(401).then(() => {
    gone = true;
  });
  await pass(400);
  assert.equal(gone, false, "400 of 401 bytes are there");
  await pass(1);
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

test("those of one key are served in order, a small request does not pass a large one", async () => {
  const { limiter, pass } = clocked(1000, 10);
  const order: string[] = [];
  const large = limiter.take(1000).then(() => order.push("large"));
  const small = limiter.take(1).then(() => order.push("small"));
  await pass(990);
  await large;
  assert.deepEqual(order, ["large"]);
  await pass(1);
  await small;
});

test("one that gives up takes nothing, lets the next through and leaves nothing behind", async () => {
  const { limiter, pass } = clocked(1000, 10);
  const abort = new AbortController();
  const first = limiter.take(1_000_000, { key: "large", signal: abort.signal });
  const second = limiter.take(50, { key: "large" });
  await pass(100);
  assert.equal(limiter.waiting, 1);
  abort.abort(new Error("enough"));
  await assert.rejects(first, /enough/);
  await second;
  assert.equal(limiter.waiting, 0);
  await assert.rejects(limiter.take(1, { signal: abort.signal }), /enough/);
  await limiter.take(60);
});

test("a wait of years neither spins nor keeps the process once nobody waits", async () => {
  const { limiter } = clocked(1, 1);
  const abort = new AbortController();
  const waiting = limiter.take(2 ** 40, { signal: abort.signal });
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
  const { limiter, pass } = clocked(1000, 100);
  limiter.charge(300);
  let gone = false;
  const waiting = limiter.take(1).then(() => {
    gone = true;
  });
  await pass(200);
  assert.equal(gone, false);
  await pass(1);
  await waiting;
});

test("what is given back goes at once to who waits", async () => {
  const { limiter } = clocked(1000, 100);
  await limiter.take(100);
  const waiting = limiter.take(60_000);
  limiter.charge(-60_000);
  await waiting;
  limiter.charge(-5000);
  await limiter.take(5000);
});

test("a key with one that asks gets as much as a key with many", async () => {
  const { limiter, pass } = clocked(1_000_000);
  using askers = new Askers(limiter);
  askers.add(40, 10_000, { key: "many" });
  askers.add(1, 10_000, { key: "one" });
  await pass(2000);
  assertNear(askers.got.one!, 1_050_000, 50_000, "one");
  assertNear(askers.got.many!, 1_050_000, 50_000, "many");
});

test("by bytes: chunks of 64 KiB, asked for one after the other, beside pieces of 4 MiB", async () => {
  const { limiter, pass } = clocked(10_000_000);
  using askers = new Askers(limiter);
  askers.add(12, 4 * MIB, { key: "pieces" });
  askers.add(1, 64 * KIB, { key: "chunks", pause: 1 });
  await pass(20_000);
  assertNear(askers.got.chunks!, 100_000_000, 5 * MIB, "chunks");
  assertNear(askers.got.pieces!, 100_000_000, 5 * MIB, "pieces");
});

test("who comes while a large request waits does not wait for it", async () => {
  const { clock, limiter, pass } = clocked(1_000_000);
  await limiter.take(100_000);
  let gone = false;
  const large = limiter.take(4 * MIB, { key: "large" }).then(() => {
    gone = true;
  });
  await pass(100);
  await limiter.take(64 * KIB, { key: "small" });
  assert.equal(clock.now, 100);
  assert.equal(gone, false);
  await pass(4100);
  assert.equal(gone, false);
  await pass(100);
  await large;
});

test("a blob that a client waits for goes before the others, which get their share", async () => {
  const { limiter, pass } = clocked(10_000_000);
  using askers = new Askers(limiter);
  let isWaitedFor = false;
  for (const key of ["a", "b", "c", "d"]) askers.add(3, 512 * KIB, { key });
  askers.add(1, 512 * KIB, { key: "waited for", urgent: () => isWaitedFor });
  await pass(10_000);
  assertNear(askers.got["waited for"]!, 20_000_000, MIB, "nobody waits yet");
  const before = { ...askers.got };
  isWaitedFor = true;
  await pass(10_000);
  assertNear(askers.got["waited for"]! - before["waited for"]!, RESERVE * 100_000_000, 2 * MIB, "waited for");
  for (const key of ["a", "b", "c", "d"]) {
    assertNear(askers.got[key]! - before[key]!, ((1 - RESERVE) * 100_000_000) / 4, MIB, key);
  }
});

test("many blobs that clients wait for get no less each than one for which nobody waits", async () => {
  const { limiter, pass } = clocked(10_000_000);
  using askers = new Askers(limiter);
  const keys = Array.from({ length: 9 }, (_, index) => `waited for ${index}`);
  for (const key of keys) askers.add(1, 64 * KIB, { key, urgent: () => true });
  askers.add(4, 4 * MIB, { key: "other" });
  await pass(10_000);
  for (const key of [...keys, "other"]) assertNear(askers.got[key]!, 10_000_000, 4 * MIB, key);
});

test("the rate is what was asked for, with pieces and chunks and late timers", async () => {
  const { clock, limiter } = clocked(20_000_000);
  using askers = new Askers(limiter);
  askers.add(8, 512 * KIB, { key: "a" });
  askers.add(1, 4 * MIB, { key: "b" });
  askers.add(2, 64 * KIB, { key: "c", pause: 1 });
  askers.add(4, MIB, { key: "d" });
  for (let step = 0; clock.now < 10_000; step++) {
    clock.now += 1 + (step % 30);
    limiter.charge(0);
    await turns(2);
  }
  assertNear(askers.total, 20_000_000 * (clock.now / 1000), 6_000_000, "bytes in 10 s");
});

test("nothing is left of keys that do not wait", async () => {
  const { limiter, pass } = clocked(1_000_000);
  {
    using askers = new Askers(limiter);
    for (let key = 0; key < 100; key++) askers.add(2, 1000, { key: String(key) });
    await pass(200);
    assert.equal(limiter.waiting, 100);
  }
  assert.equal(limiter.waiting, 0);
});
