/** @module Tests of the uploader's choice. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Bitfield } from "./bitfield.ts";
import { chooseNext, type NextState } from "./next-piece.ts";
import { prng } from "./testing/blobs.ts";

function set(length: number, pieces: Iterable<number>): Bitfield {
  const bits = new Bitfield(length);
  for (const piece of pieces) bits.add(piece);
  return bits;
}

function full(length: number): Bitfield {
  const bits = new Bitfield(length);
  bits.addAll();
  return bits;
}

function state(count: number, changes: Partial<NextState> = {}): NextState {
  return {
    have: full(count),
    asked: new Bitfield(count),
    served: new Uint32Array(count),
    servedAt: new Float64Array(count),
    repeatAfterMs: 300,
    lostAfterMs: 300,
    mayBeLost: () => false,
    now: 10_000,
    ...changes,
  };
}

test("the choice is least served, not repeated early, and never what the asker has", () => {
  const random = prng(31);
  for (let round = 0; round < 3000; round++) {
    const count = 1 + Math.floor(random() * 100);
    const share = random();
    const given = state(count, {
      have: set(
        count,
        [...full(count)].filter(() => random() < 0.7),
      ),
      asked: set(
        count,
        [...full(count)].filter(() => random() < share),
      ),
      served: Uint32Array.from({ length: count }, () => random() * 3),
      servedAt: Float64Array.from({ length: count }, () => 9_400 + random() * 600),
      ...(random() < 0.2 ? { want: Math.floor(random() * count) } : {}),
    });
    const ready = (piece: number) =>
      given.have.has(piece) &&
      !given.asked.has(piece) &&
      (given.served[piece] === 0 || given.servedAt[piece]! + 300 <= 10_000);
    const readies = [...full(count)].filter(ready);
    const open = [...full(count)].filter((piece) => !given.asked.has(piece));
    const choice = chooseNext(given);
    const { want } = given;
    if (want !== undefined && ready(want)) {
      assert.deepEqual(choice, { kind: "piece", piece: want });
    } else if (readies.length > 0) {
      assert.ok(choice.kind === "piece" && ready(choice.piece));
      const least = Math.min(...readies.map((piece) => given.served[piece]!));
      assert.equal(given.served[choice.piece], least);
    } else if (open.length > 0) {
      const early = open.filter((piece) => given.have.has(piece)).map((piece) => given.servedAt[piece]! + 300);
      assert.deepEqual(choice, { kind: "later", at: early.length > 0 ? Math.min(...early) : undefined });
    } else assert.deepEqual(choice, { kind: "nothing" });
  }
});

test("askers in turn get different pieces until all went out", () => {
  const count = 97;
  const given = state(count);
  const sent = new Set<number>();
  for (let round = 0; round < count; round++) {
    const choice = chooseNext(given);
    assert.ok(choice.kind === "piece" && !sent.has(choice.piece));
    sent.add(choice.piece);
    (given.served as Uint32Array)[choice.piece]!++;
    (given.servedAt as Float64Array)[choice.piece] = given.now;
  }
  assert.deepEqual(chooseNext(given), { kind: "later", at: 10_300 });
  assert.equal(chooseNext({ ...given, now: 10_300 }).kind, "piece");
});

test("a long run of asked pieces is passed over, to the last piece", () => {
  for (const count of [31, 32, 33, 64, 65, 1000]) {
    const asked = full(count);
    assert.deepEqual(chooseNext(state(count, { asked })), { kind: "nothing" });
    asked.delete(count - 1);
    assert.deepEqual(chooseNext(state(count, { asked })), { kind: "piece", piece: count - 1 });
  }
});

test("a piece that may be lost goes out again sooner than one that gets around", () => {
  const given = state(2, {
    served: Uint32Array.of(1, 1),
    servedAt: Float64Array.of(9_000, 9_000),
    repeatAfterMs: 2000,
    lostAfterMs: 800,
    mayBeLost: (piece) => piece === 1,
  });
  assert.deepEqual(chooseNext(given), { kind: "piece", piece: 1 });
  assert.deepEqual(chooseNext({ ...given, asked: set(2, [1]) }), { kind: "later", at: 11_000 });
  assert.deepEqual(chooseNext({ ...given, now: 9_500 }), { kind: "later", at: 9_800 });
});
