/** @module Tests of what an uploader remembers of a blob's pieces. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Bitfield } from "./bitfield.ts";
import { ServedPieces } from "./served-pieces.ts";

const COUNT = 40;

function fieldOf(...pieces: number[]): Bitfield {
  const field = new Bitfield(COUNT);
  for (const piece of pieces) field.add(piece);
  return field;
}

test("a repeat waits for several times what it takes the median piece to another asker", () => {
  const served = new ServedPieces(COUNT);
  assert.equal(served.repeatAfterMs(undefined), 1000, "nothing is known");
  assert.equal(served.repeatAfterMs(20), 80, "askers may not reach each other");
  for (const asker of ["a", "b"]) served.heard(asker, fieldOf(), 0);
  for (let piece = 0; piece < 30; piece++) served.note(piece, piece * 10, "a");
  served.heard("a", fieldOf(...Array(30).keys()), 300);
  assert.equal(served.repeatAfterMs(undefined), 1000, "what an asker got from here itself says nothing");
  for (let piece = 0; piece < 30; piece++) served.heard("b", fieldOf(...Array(piece + 1).keys()), piece * 10 + 200);
  assert.equal(served.repeatAfterMs(20), 800);
  served.heard("b", fieldOf(...Array(30).keys()), 9000);
  assert.equal(served.repeatAfterMs(undefined), 800, "each piece counts once");
});

test("who comes late fetches late, and says nothing of how fast pieces get around", () => {
  const served = new ServedPieces(COUNT);
  served.heard("a", fieldOf(), 0);
  served.note(0, 0, "a");
  served.heard("late", fieldOf(), 5000);
  served.heard("late", fieldOf(0), 6000);
  assert.equal(served.repeatAfterMs(undefined), 1000);
});

test("never longer than a request waits", () => {
  const served = new ServedPieces(COUNT);
  for (const asker of ["a", "b"]) served.heard(asker, fieldOf(), 0);
  served.note(0, 0, "a");
  served.heard("b", fieldOf(0), 60_000);
  assert.equal(served.repeatAfterMs(undefined), 7500);
});

test("what an asker was sent lately, and that thousands of askers cost no more than the latest of them", () => {
  const served = new ServedPieces(COUNT);
  served.heard("a", fieldOf(), 0);
  served.note(1, 10, "a");
  served.note(2, 20, "a");
  assert.deepEqual(served.sentSince("a", 15), [2]);
  assert.deepEqual(served.sentSince("a", 0), [2, 1]);
  assert.deepEqual(served.sentSince("nobody", 0), []);
  served.lost(2, "a");
  assert.deepEqual(served.sentSince("a", 0), [1], "what did not get there was not sent");
  for (let index = 0; index < 5000; index++) served.heard(`asker ${index}`, fieldOf(), 30);
  assert.deepEqual(served.sentSince("a", 0), [], "forgotten");
});

test("what an asker was sent half a minute ago is forgotten, but not what it was sent again since", () => {
  const served = new ServedPieces(COUNT);
  served.heard("a", fieldOf(), 0);
  for (let piece = 0; piece < 10; piece++) served.note(piece, piece, "a");
  served.note(3, 20_000, "a");
  served.note(20, 31_000, "a");
  assert.deepEqual(served.sentSince("a", 0), [20, 3]);
  served.heard("a", fieldOf(3, 20), 31_000);
  assert.equal(served.repeatAfterMs(undefined), 1000, "it got both from here");
  served.note(21, 55_000, "a");
  assert.deepEqual(served.sentSince("a", 0), [21, 20]);
});

test("a piece is lost when the others tell of it so late as they never do", () => {
  const served = new ServedPieces(COUNT);
  for (const asker of ["a", "b", "c"]) served.heard(asker, fieldOf(), 0);
  assert.equal(served.lostAfterMs(20), served.repeatAfterMs(20), "nothing is known");
  for (let piece = 0; piece < 30; piece++) {
    served.note(piece, piece * 10, "a");
    served.heard("b", fieldOf(...Array(piece + 1).keys()), piece * 10 + 100);
    served.heard("c", fieldOf(...Array(piece + 1).keys()), piece * 10 + 500);
  }
  assert.equal(served.lostAfterMs(20), 200);
  assert.equal(served.lostAfterMs(300), 600, "it takes its time to get to the first of them");
  served.note(30, 300, "a");
  const told = fieldOf(...Array(30).keys());
  for (let round = 0; round < 24; round++) {
    assert.equal(served.mayBeLost(30), false, "few have told");
    served.heard("b", told, 400);
  }
  assert.equal(served.mayBeLost(30), true);
  assert.equal(served.mayBeLost(29), false, "others told of it");
  served.note(30, 500, "c");
  assert.equal(served.mayBeLost(30), false, "served again");
});
