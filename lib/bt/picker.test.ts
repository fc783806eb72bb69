/** @module Tests of the choice of pieces: properties that hold in any state. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Bitfield } from "./bitfield.ts";
import { type Flight, isEndgame, isHopeless, isLate, type PickState, pickPiece } from "./picker.ts";
import { prng } from "./testing/blobs.ts";

function bits(length: number, wanted: (piece: number) => boolean): Bitfield {
  const set = new Bitfield(length);
  for (let piece = 0; piece < length; piece++) if (wanted(piece)) set.add(piece);
  return set;
}

function all(length: number): Bitfield {
  return bits(length, () => true);
}

function state(count: number, changes: Partial<PickState> = {}): PickState {
  return {
    offered: all(count),
    have: new Bitfield(count),
    known: all(count),
    flights: new Map(),
    availability: new Uint16Array(count),
    urgent: [],
    medianMs: 100,
    now: 10_000,
    random: () => 0.5,
    ...changes,
  };
}

/** Numbers of which the first, which decides between the earliest and the rarest, is given. */
function beginningWith(first: number, random: () => number): () => number {
  let drawn = false;
  return () => {
    if (drawn) return random();
    drawn = true;
    return first;
  };
}

function randomState(random: () => number): PickState {
  const count = 1 + Math.floor(random() * 130);
  const share = random();
  const flights = new Map<number, Flight[]>();
  for (let piece = 0; piece < count; piece++) {
    if (random() > 0.3) continue;
    const list: Flight[] = [];
    for (let copies = random() < 0.3 ? 2 : 1; copies > 0; copies--) {
      list.push({ piece, startedAt: 10_000 - random() * 600, progress: random() });
    }
    flights.set(piece, list);
  }
  return state(count, {
    offered: bits(count, () => random() < share),
    have: bits(count, () => random() < 0.4),
    known: bits(count, () => random() < 0.8),
    flights,
    availability: Uint16Array.from({ length: count }, () => random() * 4),
    urgent: random() < 0.5 ? [] : Array.from({ length: 3 }, () => Math.floor(random() * count)),
    medianMs: random() < 0.2 ? undefined : 100,
    random,
  });
}

test("never a piece that is here, not offered, of unknown hash, or under way in time", () => {
  const random = prng(21);
  let picks = 0;
  for (let round = 0; round < 3000; round++) {
    const given = randomState(random);
    const isEarly = round % 2 === 0;
    const piece = pickPiece({ ...given, random: beginningWith(isEarly ? 0.49 : 0.5, random) });
    const free = (index: number) =>
      given.offered.has(index) && !given.have.has(index) && given.known.has(index) && !given.flights.has(index);
    if (piece === undefined) {
      for (let index = 0; index < given.have.length; index++)
        assert.ok(!free(index), `nothing picked, though ${index} is free`);
      continue;
    }
    picks++;
    assert.ok(given.offered.has(piece), "offered");
    assert.ok(!given.have.has(piece), "not here");
    assert.ok(given.known.has(piece), "hash known");
    const under = given.flights.get(piece);
    const lateness = { ...given, endgame: isEndgame(given) };
    if (under)
      assert.ok(isLate(under, lateness) && under.length < 2, "under way only when late, and at most two at once");
    const urgent = given.urgent.find((index) => {
      const flights = given.flights.get(index);
      return (
        given.offered.has(index) &&
        !given.have.has(index) &&
        given.known.has(index) &&
        (!flights || isLate(flights, lateness))
      );
    });
    if (urgent !== undefined) assert.equal(piece, urgent, "what a reader waits for comes first");
    else if (!under) {
      for (let index = 0; index < given.have.length; index++) {
        if (!free(index)) continue;
        if (isEarly) assert.ok(piece <= index, "the earliest first");
        else assert.ok(given.availability[piece]! <= given.availability[index]!, "rarest first");
      }
    }
  }
  assert.ok(picks > 1000);
});

test("ties are broken evenly", () => {
  const random = prng(22);
  const counts = new Array<number>(40).fill(0);
  const given = state(40, { have: bits(40, (piece) => piece % 4 === 0) });
  for (let round = 0; round < 6000; round++) {
    counts[pickPiece({ ...given, random: beginningWith(0.5, random) })!]!++;
  }
  for (let piece = 0; piece < 40; piece++) {
    if (piece % 4 === 0) assert.equal(counts[piece], 0);
    else assert.ok(counts[piece]! > 120 && counts[piece]! < 300, `piece ${piece}: ${counts[piece]} of 200`);
  }
});

test("half of the choices are the earliest piece, so that a body moves, and half the rarest", () => {
  const given = state(40, {
    random: prng(23),
    availability: Uint16Array.from({ length: 40 }, (_, piece) => 40 - piece),
  });
  let [early, rare] = [0, 0];
  for (let round = 0; round < 2000; round++) {
    const piece = pickPiece(given);
    if (piece === 0) early++;
    else if (piece === 39) rare++;
  }
  assert.equal(early + rare, 2000);
  assert.ok(Math.abs(early - rare) < 200, `${early} early, ${rare} rare`);
});

test("the endgame asks again for the oldest late piece only", () => {
  const flights = new Map<number, Flight[]>([
    [0, [{ piece: 0, startedAt: 9_700, progress: 0.1 }]],
    [1, [{ piece: 1, startedAt: 9_600, progress: 0.1 }]],
    [2, [{ piece: 2, startedAt: 9_000, progress: 0.9 }]],
    [
      3,
      [
        { piece: 3, startedAt: 9_510, progress: 0 },
        { piece: 3, startedAt: 9_600, progress: 0 },
      ],
    ],
    [4, [{ piece: 4, startedAt: 9_900, progress: 0 }]],
  ]);
  assert.equal(pickPiece(state(5, { flights })), 1);
  assert.equal(pickPiece(state(5, { flights, medianMs: undefined })), undefined, "arriving, or just asked for");
  assert.equal(pickPiece(state(5, { flights, medianMs: 10_000 })), undefined);
});

test("requests to hosts that are gone do not keep a piece from others", () => {
  const silent = { piece: 0, startedAt: 9_400, progress: 0 };
  const late = (...under: Flight[]) => isLate(under, { medianMs: 100, now: 10_000 });
  assert.ok(late(silent, silent));
  assert.ok(late(silent, silent, { ...silent, progress: 0.1 }));
  assert.ok(!late(silent, silent, { ...silent, startedAt: 9_900 }), "a third one is given its time");
  assert.ok(!late(silent, { ...silent, progress: 0.1 }, { ...silent, progress: 0.1 }));
  assert.ok(!late(...Array(6).fill(silent)), "bounded");
});

test("before any piece has come, one that brings no byte is asked of a second source, and of no third", () => {
  const quiet = { piece: 0, startedAt: 9_400, progress: 0 };
  const late = (...under: Flight[]) => isLate(under, { medianMs: undefined, now: 10_000 });
  assert.ok(late(quiet));
  assert.ok(!late({ ...quiet, startedAt: 9_600 }), "it is given its time");
  assert.ok(!late({ ...quiet, progress: 0.1, heardAt: 9_900 }), "it arrives");
  assert.ok(late({ ...quiet, progress: 0.1, heardAt: 9_400 }), "it has stopped to arrive");
  assert.ok(!late(quiet, quiet));
  assert.equal(pickPiece(state(1, { flights: new Map([[0, [quiet]]]), medianMs: undefined })), 0);
});

test("one that stops to arrive is late, however far in it is", () => {
  const late = (heardAt: number | undefined) =>
    isLate([{ piece: 0, startedAt: 5_000, progress: 0.9, heardAt }], { medianMs: 100, now: 10_000 });
  assert.ok(late(8_900));
  assert.ok(!late(9_100));
  assert.ok(!late(undefined), "nobody knows when");
});

test("one that arrives slowly is asked again where its rest would take long, or nothing else is left", () => {
  const late = (progress: number, endgame = false) =>
    isLate([{ piece: 0, startedAt: 9_000, progress }], { medianMs: 200, now: 10_000, endgame });
  assert.ok(late(0.3), "2.3 s are left of it, more than 2 s");
  assert.ok(!late(0.4), "1.5 s are left of it");
  assert.ok(late(0.55, true));
  assert.ok(!late(0.7, true), "a copy would not be sooner");
});

test("an empty source gives nothing", () => {
  assert.equal(pickPiece(state(100, { offered: new Bitfield(100) })), undefined);
  assert.equal(pickPiece(state(100, { have: all(100) })), undefined);
  assert.equal(pickPiece(state(100, { known: new Bitfield(100) })), undefined);
});

test("hopeless is what trickles, late, and only where it is known how long a piece takes", () => {
  const hopeless = (ms: number, progress: number, medianMs?: number) =>
    isHopeless({ piece: 0, startedAt: 10_000 - ms, progress }, { medianMs, now: 10_000 });
  assert.ok(hopeless(300, 0.02, 100));
  assert.ok(!hopeless(300, 0.1, 100), "slow alone is not hopeless");
  assert.ok(!hopeless(200, 0.02, 100), "not before it is late");
  assert.ok(!hopeless(900, 0, 100), "silence is something else");
  assert.ok(!hopeless(90, 0.001, 1), "the median of a fast line is shorter than hiccups");
  assert.ok(!hopeless(9000, 0));
});
