/**
 * @module
 * The choice among seeders.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseEndpoint, type Policy } from "./choice.ts";
import type { EndpointState } from "./endpoint-state.ts";

const up: EndpointState = { t: "up", generation: 0 };
const down: EndpointState = { t: "down", generation: 1, outages: 1, retryAt: 1000, refuses: false };
const refusing: EndpointState = { ...down, refuses: true };
const probing: EndpointState = { ...down, t: "probing", generation: 2 };
const names = ["http://a:1/", "http://b:1/", "http://c:1/"];
const keys = Array.from({ length: 3000 }, (_, index) => `sha256:${index}`);

function choose(
  states: EndpointState[],
  { policy = "round_robin" as Policy, turn = 0, key = "", excluded = [] as number[], now = 0 },
): number | undefined {
  const candidates = states.map((state, index) => ({ name: names[index]!, state }));
  return chooseEndpoint(candidates, { policy, turn, key, excluded: new Set(excluded), now });
}

test("round robin goes evenly over those that live", () => {
  const turns = [0, 1, 2, 3, 4, 5];
  assert.deepEqual(
    turns.map((turn) => choose([up, up, up], { turn })),
    [0, 1, 2, 0, 1, 2],
  );
  assert.deepEqual(
    turns.map((turn) => choose([up, down, up], { turn })),
    [0, 2, 0, 2, 0, 2],
  );
  assert.deepEqual(
    turns.map((turn) => choose([up, probing, up], { turn, excluded: [0] })),
    [2, 2, 2, 2, 2, 2],
  );
});

test("a seeder whose time has come is tried again; with none left there is no choice", () => {
  assert.equal(choose([down], { now: 999 }), undefined);
  assert.equal(choose([down], { now: 1000 }), 0);
  assert.equal(choose([probing], { now: 1e9 }), undefined);
  assert.equal(choose([], {}), undefined);
  for (const policy of ["round_robin", "rendezvous"] as const)
    assert.equal(choose([up], { policy, excluded: [0] }), undefined);
});

test("where none takes calls, one that refuses is asked before its time", () => {
  for (const policy of ["round_robin", "rendezvous"] as const) {
    assert.equal(choose([refusing, up], { policy, turn: 0 }), 1);
    assert.equal(choose([refusing, up], { policy, excluded: [1] }), 0);
    assert.equal(choose([down, refusing, probing], { policy }), 1);
    assert.equal(choose([refusing, down], { policy, now: 1000, excluded: [1] }), 0, "due");
    assert.equal(choose([refusing], { policy, excluded: [0] }), undefined);
  }
});

test("rendezvous: stable per key, spread over all, and only the dead seeder's keys move", () => {
  const policy = "rendezvous";
  const owners = keys.map((key, turn) => choose([up, up, up], { policy, key, turn })!);
  assert.deepEqual(
    keys.map((key) => choose([up, up, up], { policy, key, turn: 7 })),
    owners,
  );
  for (const seeder of [0, 1, 2]) {
    const share = owners.filter((owner) => owner === seeder).length;
    assert.ok(share > 850 && share < 1150, `seeder ${seeder} has ${share} of 3000`);
  }
  const without = keys.map((key) => choose([up, down, up], { policy, key })!);
  const heirs = new Set<number>();
  owners.forEach((owner, index) => {
    if (owner === 1) heirs.add(without[index]!);
    else assert.equal(without[index], owner);
  });
  assert.deepEqual(heirs, new Set([0, 2]));
});

test("rendezvous does not depend on the order in which a host lists the seeders", () => {
  const pick = (order: number[], key: string) => {
    const candidates = order.map((index) => ({ name: names[index]!, state: up }));
    return candidates[chooseEndpoint(candidates, { policy: "rendezvous", turn: 0, key, excluded: new Set(), now: 0 })!]!
      .name;
  };
  for (const key of keys.slice(0, 200)) assert.equal(pick([0, 1, 2], key), pick([2, 0, 1], key));
});
