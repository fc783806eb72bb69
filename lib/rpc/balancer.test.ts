/**
 * @module
 * Leases: what their reports do to the state of a seeder, and waiting for another's probe.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Balancer } from "./balancer.ts";

const none: ReadonlySet<number> = new Set();
const signal = new AbortController().signal;

function create(names: string[]) {
  const clock = { now: 0 };
  const backoff = { baseMs: 100, maxMs: 1000, jitter: 0 };
  return { clock, balancer: new Balancer({ names, backoff, now: () => clock.now, random: () => 0 }) };
}

test("concurrent failures are one outage; half open lets one through; recovery", () => {
  const { clock, balancer } = create(["a"]);
  const leases = Array.from({ length: 50 }, () => balancer.choose({ key: "", excluded: none })!);
  assert.deepEqual(
    leases.map((lease) => lease.failed()),
    [true, ...Array(49).fill(false)],
  );
  assert.equal(balancer.healthy, false);
  assert.equal(balancer.choose({ key: "", excluded: none }), undefined);
  clock.now = 100;
  assert.equal(balancer.healthy, true);
  const probe = balancer.choose({ key: "", excluded: none })!;
  assert.equal(balancer.choose({ key: "", excluded: none }), undefined, "one probe at a time");
  assert.equal(probe.failed(), true);
  clock.now = 250;
  assert.equal(balancer.choose({ key: "", excluded: none }), undefined, "the second wait is twice as long");
  clock.now = 300;
  const second = balancer.choose({ key: "", excluded: none })!;
  assert.equal(leases[7]!.answered(), false, "an answer from before the outage says nothing");
  assert.equal(second.answered(), true);
  assert.equal(balancer.states[0]!.t, "up");
  assert.equal(second.failed(), true, "the probe's call breaks later: a new outage");
  assert.equal(second.failed(), false);
});

test("waiting for somebody else's probe", async () => {
  const { clock, balancer } = create(["a"]);
  assert.equal(await balancer.probed(none, signal), false);
  balancer.choose({ key: "", excluded: none })!.failed();
  clock.now = 100;
  const probe = balancer.choose({ key: "", excluded: none })!;
  assert.equal(await balancer.probed(new Set([0]), signal), false, "not of a seeder that is excluded");
  const waiting = balancer.probed(none, signal);
  const controller = new AbortController();
  const left = balancer.probed(none, controller.signal);
  controller.abort(new Error("left"));
  await assert.rejects(left, /left/);
  probe.answered();
  assert.equal(await waiting, true);
  assert.ok(balancer.choose({ key: "", excluded: none }));
});

test("an abandoned probe frees the place", () => {
  const { clock, balancer } = create(["a"]);
  balancer.choose({ key: "", excluded: none })!.failed();
  clock.now = 100;
  balancer.choose({ key: "", excluded: none })!.abandoned();
  assert.ok(balancer.choose({ key: "", excluded: none }));
});

test("no seeders: not healthy, nothing to choose", () => {
  const { balancer } = create([]);
  assert.equal(balancer.healthy, false);
  assert.equal(balancer.choose({ key: "", excluded: none }), undefined);
});

test("one that refuses is asked by each call while no other takes any: no new outage each time", () => {
  const { clock, balancer } = create(["a"]);
  const choose = () => balancer.choose({ key: "", excluded: none });
  assert.equal(choose()!.failed({ disconnected: true }), true);
  for (clock.now = 1; clock.now < 100; clock.now += 1) {
    assert.equal(balancer.healthy, false);
    const probe = choose()!;
    assert.equal(choose(), undefined, "one probe at a time");
    assert.equal(probe.failed({ disconnected: true }), false);
  }
  assert.equal(choose()!.failed({ disconnected: true }), true, "the probe that is due");
  assert.equal(choose()!.answered(), true, "back, before the next is due");
  assert.equal(balancer.healthy, true);
});

test("who kept the caller waiting is left alone; who broke off after a word is not", () => {
  const { clock, balancer } = create(["a"]);
  const choose = () => balancer.choose({ key: "", excluded: none });
  const speaking = choose()!;
  clock.now = 10_000;
  speaking.answered();
  speaking.failed({ disconnected: true });
  const slow = choose()!;
  clock.now = 20_000;
  assert.equal(slow.failed({ disconnected: true }), true);
  clock.now = 20_100;
  assert.equal(choose(), undefined);
  clock.now = 20_200;
  assert.ok(choose());
});
