import assert from "node:assert/strict";
import { test } from "node:test";
import { Neighbourhood } from "./neighbourhood.ts";
import { DEGREE, type Neighbour, SEEK } from "./neighbours.ts";

/** A neighbourhood whose peers are their names. */
function world() {
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
    random: () => 0,
  });
  const hearOf = (count: number) => {
    for (let index = 0; index < count; index++) neighbourhood.hearOf(`peer-${index}`, `peer-${index}`);
  };
  const change = (name: string, facts: Partial<Neighbour<string>>) =>
    followed.set(name, { ...followed.get(name)!, ...facts });
  return { clock, followed, left, neighbourhood, hearOf, change };
}

test("the first that trackers name are followed, the rest wait", () => {
  const { followed, hearOf } = world();
  hearOf(50);
  assert.deepEqual(
    [...followed.keys()],
    Array.from({ length: SEEK }, (_, index) => `peer-${index}`),
  );
});

test("a silent peer is left for one that waits, and rests", () => {
  const { clock, followed, left, neighbourhood, hearOf, change } = world();
  hearOf(SEEK + 1);
  clock.now = 6000;
  change("peer-3", { owingSince: 0 });
  neighbourhood.review();
  assert.deepEqual(left, ["peer-3"]);
  assert.ok(followed.has(`peer-${SEEK}`));
  neighbourhood.hearOf("peer-3", "peer-3");
  neighbourhood.welcome("peer-3", "peer-3");
  assert.ok(!followed.has("peer-3"));
  clock.now = 17_000;
  neighbourhood.welcome("peer-3", "peer-3");
  assert.ok(followed.has("peer-3"));
});

test("a follower is followed back; of many the oldest neighbour gives way", () => {
  const { clock, followed, left, neighbourhood, hearOf } = world();
  hearOf(SEEK);
  clock.now = 1;
  for (let index = 0; index < DEGREE - SEEK; index++) neighbourhood.welcome(`guest-${index}`, `guest-${index}`);
  assert.equal(followed.size, DEGREE);
  assert.deepEqual(left, []);
  neighbourhood.welcome("late", "late");
  assert.ok(followed.has("late"));
  assert.deepEqual(left, ["peer-0"]);
  assert.equal(followed.size, DEGREE);
});

test("a peer that ended by itself makes room, and comes back after a rest", () => {
  const { clock, followed, neighbourhood, hearOf } = world();
  hearOf(SEEK + 5);
  followed.delete("peer-0");
  neighbourhood.left("peer-0");
  neighbourhood.review();
  assert.equal(followed.size, SEEK);
  assert.ok(!followed.has("peer-0"));
  clock.now = 20_000;
  followed.delete("peer-1");
  neighbourhood.left("peer-1");
  neighbourhood.hearOf("peer-0", "peer-0");
  assert.ok(followed.has("peer-0"));
});
