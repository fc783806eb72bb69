/**
 * Tests of the policy: what the product's decisions make of a swarm, in virtual time. Nothing here depends on how fast
 * this machine is.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { summarize } from "./report.ts";
import { rigCase } from "./rig-cases.ts";
import { payloadRate, type Scenario, scenario } from "./scenario.ts";
import { simulate } from "./simulation.ts";

const run = (given: Scenario) => summarize(simulate(given));
const small = (hosts: number, changes: Partial<Scenario> = {}) => scenario({ hosts, size: 256 * 2 ** 20, ...changes });

function atMost(figure: number, limit: number, what: string): void {
  assert.ok(figure <= limit, `${what}: ${figure.toFixed(3)} is more than ${limit}`);
}

test("the same seed is the same run, another one is not", () => {
  const [one, same, other] = [1, 1, 2].map((seed) => simulate(small(20, { seed })));
  assert.deepEqual(one, same);
  assert.notDeepEqual(one!.hosts, other!.hosts);
});

test("one host has its line's speed, also far away", () => {
  atMost(run(small(1)).max, 1.06, "near");
  atMost(run(small(1, { rttMs: 20, zoneRttMs: 20 })).max, 1.5, "20 ms");
});

for (const [name, ratio, seeder, waste] of [
  ["warm", 1.1, 1.05, 0.005],
  ["cold", 1.15, 1.05, 0.005],
  ["warm-16", 1.2, 1.05, 0.005],
  ["cold-16", 1.25, 1.1, 0.005],
  ["delay", 1.2, 1.05, 0.005],
  ["joining", 1.15, 1.6, 0.01],
  ["slow-host", 1.15, 1.3, 0.01],
  ["deaths", 1.2, 1.1, 0.02],
  ["vanish", 1.2, 1.1, 0.02],
] as const) {
  test(`the rig's case "${name}"`, () => {
    const summary = run(rigCase(name));
    assert.equal(summary.unfinished, 0);
    atMost(summary.max, ratio, "slowest host");
    atMost(summary.seeder, seeder, "blobs sent by the seeder");
    atMost(summary.waste, waste, "waste");
  });
}

test("a fifth of the hosts die: pieces that only they had are sent again, once", () => {
  for (const dieSilently of [false, true]) {
    const summary = run(small(100, { dying: 20, dieSilently }));
    assert.equal(summary.unfinished, 0);
    atMost(summary.p50, 1.15, "median host");
    atMost(summary.seeder, 1.35, "blobs sent by the seeder");
  }
});

test("zones: most bytes stay, and no zone falls behind", () => {
  const summary = run(small(150, { zones: 3 }));
  atMost(summary.crossed, 0.3, "bytes that crossed");
  atMost(summary.p99, 1.25, "p99");
  atMost(summary.seeder, 1.25, "blobs sent by the seeder");
});

test("hosts that join while others have finished do not all wait for these", () => {
  atMost(run(small(200, { joinEveryMs: 50 })).max, 1.3, "slowest host");
});

test("the cost of a host does not grow with the swarm", () => {
  const [few, many] = [100, 400].map((hosts) => run(small(hosts, { rate: payloadRate(1e8) })));
  for (const key of ["requests", "seederRequests", "announces", "haves"] as const) {
    atMost(many![key], few![key] * 1.1 + 1, key);
  }
  atMost(many!.haves, 20, "haves told by piece");
});

test("1,000 hosts x 1 GB: p99 within 1.15 of the bound", () => {
  const summary = run(scenario({ hosts: 1000, size: 1e9 }));
  assert.equal(summary.unfinished, 0);
  atMost(summary.p99, 1.15, "p99");
  atMost(summary.seeder, 1.15, "blobs sent by the seeder");
  atMost(summary.waste, 0.005, "waste");
  atMost(summary.announces, 5, "announces");
});
