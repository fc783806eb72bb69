/**
 * Tests of the links.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Clock } from "./clock.ts";
import { Network } from "./network.ts";
import { seededRandom } from "./random.ts";

/** Hosts with so many bytes a ms each way. */
function network(...rates: number[]) {
  const clock = new Clock();
  const done = new Map<string, number>();
  const net = new Network<string>(clock, { settleMs: 0.001, onDone: (name) => done.set(name, clock.now) });
  for (const rate of rates) net.addHost({ upRate: rate * 1000, downRate: rate * 1000 });
  const run = (count: number) => assert.ok(clock.run(() => done.size === count, 1e9));
  const near = (name: string, ms: number) => {
    const was = done.get(name)!;
    assert.ok(Math.abs(was - ms) < 0.01 * ms + 0.1, `${name} was done at ${was}, not at about ${ms}`);
  };
  return { clock, net, done, run, near };
}

test("a flow alone has the narrower of its links", () => {
  const { net, run, near } = network(10, 4);
  net.start(0, 1, 400, "a");
  run(1);
  near("a", 100);
});

test("flows share an uplink, and the rest speeds up when one ends", () => {
  const { net, run, near } = network(10, 10, 10);
  net.start(0, 1, 500, "short");
  net.start(0, 2, 1000, "long");
  run(2);
  near("short", 100);
  near("long", 150);
});

test("what a slow receiver cannot take goes to the others", () => {
  const { net, run, near } = network(10, 1, 10);
  net.start(0, 1, 100, "slow");
  net.start(0, 2, 900, "fast");
  run(2);
  near("slow", 100);
  near("fast", 100);
});

test("a broken-off flow tells what came through and makes room", () => {
  const { clock, net, done, run, near } = network(10, 10, 10);
  const gone = net.start(0, 1, 1000, "gone");
  net.start(0, 2, 1000, "stays");
  clock.at(100, () => assert.ok(Math.abs(net.cancel(gone) - 500) < 1));
  run(1);
  near("stays", 150);
  assert.ok(!done.has("gone"));
});

test("no link carries more than it can, and little less", () => {
  const random = seededRandom(3);
  const { clock, net, done } = network(...Array<number>(20).fill(10));
  let begun = 0;
  const begin = (to: number) => {
    if (begun >= 4000) return;
    const from = (to + 1 + Math.floor(random() * 19)) % 20;
    net.start(from, to, 100, `${to} ${begun++}`);
  };
  const before = clock.run.bind(clock);
  for (let host = 0; host < 20; host++) for (let index = 0; index < 8; index++) begin(host);
  let seen = 0;
  assert.ok(
    before(() => {
      for (; seen < done.size; seen++) begin(Number([...done.keys()][seen]!.split(" ")[0]));
      return done.size === 4000;
    }, 1e6),
  );
  // 4,000 flows of 100 bytes over 20 links of 10 bytes a ms.
  const least = (4000 * 100) / (20 * 10);
  assert.ok(clock.now >= least * 0.999, `${clock.now} ms is less than the links allow`);
  assert.ok(clock.now <= least * 1.25, `${clock.now} ms is much more than ${least}`);
});
