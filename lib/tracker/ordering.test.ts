/** @module Tests of the order of peers. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { choosePeers } from "./ordering.ts";

interface P {
  readonly id: string;
}

const pool = (prefix: string, count: number): P[] => Array.from({ length: count }, (_, i) => ({ id: `${prefix}${i}` }));
const ids = (peers: readonly P[]) => peers.map(({ id }) => id);
const all = { accept: () => true, random: Math.random };

test("same zone first, then complete, then the rest", () => {
  const candidates = {
    complete: [
      new Map([
        ["a", pool("aHolder", 2)],
        ["b", pool("bHolder", 3)],
      ]),
      new Map([["a", pool("aDone", 1)]]),
    ],
    incomplete: [
      new Map([
        ["a", pool("aBusy", 4)],
        ["", pool("Busy", 5)],
      ]),
    ],
  };
  const classes = ids(choosePeers(candidates, { ...all, zone: "a", numwant: 100 })).map((id) => id.replace(/\d/, ""));
  assert.deepEqual(new Set(classes.slice(0, 3)), new Set(["aHolder", "aDone"]));
  assert.deepEqual(classes.slice(3), [
    ...Array(4).fill("aBusy"),
    ...Array(3).fill("bHolder"),
    ...Array(5).fill("Busy"),
  ]);
  const noZone = ids(choosePeers(candidates, { ...all, zone: "", numwant: 100 }));
  assert.equal(noZone.length, 15);
  assert.ok(noZone.slice(0, 6).every((id) => !id.includes("Busy")));
});

test("bounded, each once, the asker never", () => {
  const candidates = { complete: [], incomplete: [new Map([["a", pool("x", 1000)]])] };
  const chosen = ids(choosePeers(candidates, { ...all, zone: "a", numwant: 50, accept: ({ id }) => id !== "x7" }));
  assert.equal(chosen.length, 50);
  assert.equal(new Set(chosen).size, 50);
  assert.ok(!chosen.includes("x7"));
  assert.deepEqual(choosePeers(candidates, { ...all, zone: "a", numwant: 0 }), []);
  assert.equal(choosePeers(candidates, { ...all, zone: "b", numwant: 5000 }).length, 1000);
  let asked = 0;
  const refuse = () => {
    asked += 1;
    return false;
  };
  assert.equal(choosePeers(candidates, { ...all, zone: "b", numwant: 5, accept: refuse }).length, 0);
  assert.ok(asked <= 500, "a swarm of impostors costs no more than this");
});

test("every peer of a class is as likely, in every place", () => {
  const candidates = { complete: [new Map([["a", pool("x", 3)]]), new Map([["b", pool("y", 2)]])], incomplete: [] };
  let state = 1;
  const random = () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  const first = new Map<string, number>();
  const second = new Map<string, number>();
  for (let i = 0; i < 10_000; i += 1) {
    const [one, two] = ids(choosePeers(candidates, { accept: () => true, random, zone: "", numwant: 2 }));
    first.set(one!, (first.get(one!) ?? 0) + 1);
    second.set(two!, (second.get(two!) ?? 0) + 1);
  }
  for (const count of [...first.values(), ...second.values()]) assert.ok(count > 1800 && count < 2200, String(count));
  assert.equal(first.size + second.size, 10);
});

test("a random source that says 1 does not reach beyond the end", () => {
  const candidates = { complete: [new Map([["", pool("x", 3)]])], incomplete: [] };
  assert.equal(choosePeers(candidates, { accept: () => true, random: () => 1, zone: "", numwant: 9 }).length, 3);
});
