import assert from "node:assert/strict";
import { test } from "node:test";
import { Neighbourhood } from "./neighbourhood.ts";
import { DEGREE, type Neighbour, SEEK } from "./neighbours.ts";

/** A neighbourhood whose peers are their names. */
function world({
  random = () => 0,
  isBanned = () => false,
}: {
  random?: () => number;
  isBanned?: (name: string) => boolean;
} = {}) {
  const clock = { now: 0 };
  const followed = new Map<string, Neighbour<string>>();
  const left: string[] = [];
  const neighbourhood = new Neighbourhood<string>({
    neighbours: () => [...followed.values()],
    medianMs: () => 100,
    follow: (name) => {
      const { now } = clock;
      followed.set(name, {
        key: name,
        zone: "",
        since: now,
        owingSince: undefined,
        requests: 0,
        useful: true,
        pieceMs: 100,
        lastPieceAt: now,
      });
    },
    leave: (name) => {
      followed.delete(name);
      left.push(name);
    },
    now: () => clock.now,
    random,
    isBanned,
  });
  const hearOf = (count: number) => {
    neighbourhood.hearOf(Array.from({ length: count }, (_, index) => [`peer-${index}`, `peer-${index}`]));
  };
  const change = (name: string, facts: Partial<Neighbour<string>>) =>
    followed.set(name, { ...followed.get(name)!, ...facts });
  return { clock, followed, left, neighbourhood, hearOf, change };
}

test("any of those that a tracker names are followed, the rest wait", () => {
  const picks = new Set<string>();
  for (const random of [() => 0, () => 0.99]) {
    const { followed, hearOf } = world({ random });
    hearOf(50);
    assert.equal(followed.size, SEEK);
    for (const name of followed.keys()) picks.add(name);
  }
  assert.ok(picks.size > SEEK, "not the first of the answer's order");
});

test("before the download has begun to follow them they have their places as well", () => {
  const { followed, neighbourhood, hearOf } = world();
  hearOf(30);
  const first = new Set(followed.keys());
  followed.clear();
  neighbourhood.hearOf([["late", "late"]]);
  assert.equal(followed.size, 0);
  assert.equal(first.size, SEEK);
});

test("a silent peer is left for one that waits, and rests", () => {
  const { clock, followed, left, neighbourhood, hearOf, change } = world();
  hearOf(SEEK);
  clock.now = 6000;
  change("peer-3", { owingSince: 0 });
  neighbourhood.hearOf([["other", "other"]]);
  assert.deepEqual(left, ["peer-3"]);
  assert.ok(followed.has("other"));
  neighbourhood.hearOf([["peer-3", "peer-3"]]);
  neighbourhood.welcome("peer-3", "peer-3");
  assert.ok(!followed.has("peer-3"));
  clock.now = 17_000;
  neighbourhood.welcome("peer-3", "peer-3");
  assert.ok(followed.has("peer-3"));
});

test("where all places are taken the slowest gives way to one that waits, and nobody to nobody", () => {
  for (const guests of [0, DEGREE - SEEK]) {
    const { clock, followed, left, neighbourhood, hearOf, change } = world();
    hearOf(SEEK);
    for (let index = 0; index < guests; index++) neighbourhood.welcome(`guest-${index}`, `guest-${index}`);
    clock.now = 6000;
    change("peer-3", { pieceMs: 700 });
    change("peer-4", { pieceMs: 900 });
    neighbourhood.review();
    assert.deepEqual(left, []);
    neighbourhood.hearOf([["other", "other"]]);
    assert.deepEqual(left, ["peer-4"]);
    assert.ok(followed.has("other"));
    assert.equal(followed.size, SEEK + guests);
  }
});

test("of many that wait the latest are remembered", () => {
  const { followed, neighbourhood, hearOf } = world();
  hearOf(SEEK);
  neighbourhood.hearOf(Array.from({ length: 250 }, (_, index) => [`other-${index}`, `other-${index}`]));
  for (const name of [...followed.keys()]) {
    followed.delete(name);
    neighbourhood.left(name);
  }
  neighbourhood.review();
  assert.equal(followed.size, SEEK);
  for (const name of followed.keys()) assert.ok(Number(name.replace("other-", "")) >= 50, name);
});

test("who is banned is neither followed nor kept", () => {
  const banned = new Set(["peer-2"]);
  const { followed, left, neighbourhood, hearOf } = world({ isBanned: (name) => banned.has(name) });
  hearOf(5);
  assert.ok(!followed.has("peer-2"));
  banned.add("peer-1");
  neighbourhood.review();
  assert.deepEqual(left, ["peer-1"]);
});

test("a follower is followed back; of many the oldest neighbour gives way", () => {
  const { clock, followed, left, neighbourhood, hearOf } = world();
  hearOf(SEEK);
  clock.now = 1;
  for (let index = 0; index < DEGREE - SEEK; index++) neighbourhood.welcome(`guest-${index}`, `guest-${index}`);
  assert.equal(followed.size, DEGREE);
  assert.deepEqual(left, []);
  const [oldest] = followed.keys();
  neighbourhood.welcome("late", "late");
  assert.ok(followed.has("late"));
  assert.deepEqual(left, [oldest]);
  assert.equal(followed.size, DEGREE);
});

test("a peer that ended by itself makes room, and comes back after a rest", () => {
  const { clock, followed, neighbourhood, hearOf } = world();
  hearOf(SEEK);
  const [gone] = followed.keys();
  followed.delete(gone!);
  neighbourhood.left(gone!);
  neighbourhood.hearOf([["other", "other"]]);
  assert.equal(followed.size, SEEK);
  assert.ok(!followed.has(gone!));
  clock.now = 20_000;
  followed.delete("other");
  neighbourhood.left("other");
  neighbourhood.hearOf([[gone!, gone!]]);
  assert.ok(followed.has(gone!));
});
