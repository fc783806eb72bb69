/** @module Tests of how a blob is cut. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Layout, MAX_BLOB_SIZE, pieceLengthFor } from "./layout.ts";
import { prng } from "./testing/blobs.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

test("the piece length is clamp(2^ceil(log2(size / 2048)), 512 KiB, 4 MiB)", () => {
  const random = prng(3);
  const sizes = [1, MiB, GiB, GiB + 1, 2 * GiB, 2 * GiB + 1, 4 * GiB, 8 * GiB, 8 * GiB + 1, 100 * GiB];
  for (let index = 0; index < 200; index++) sizes.push(1 + Math.floor(random() * 20 * GiB));
  for (const size of sizes) {
    const expected = Math.min(4 * MiB, Math.max(512 * KiB, 2 ** Math.ceil(Math.log2(size / 2048))));
    assert.equal(pieceLengthFor(size), expected, `${size}`);
  }
});

test("pieces cover the blob without gap or overlap", () => {
  const random = prng(4);
  for (let round = 0; round < 100; round++) {
    const pieceLength = 2 ** (14 + Math.floor(random() * 8));
    const layout = new Layout(1 + Math.floor(random() * 40 * pieceLength), pieceLength);
    let position = 0;
    for (let piece = 0; piece < layout.count; piece++) {
      assert.equal(layout.start(piece), position);
      assert.ok(layout.length(piece) > 0 && layout.length(piece) <= pieceLength);
      assert.equal(layout.pieceAt(layout.start(piece)), piece);
      assert.equal(layout.pieceAt(layout.end(piece) - 1), piece);
      position = layout.end(piece);
    }
    assert.equal(position, layout.size);
  }
});

test("sizes and piece lengths that make no sense are refused", () => {
  for (const size of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, MAX_BLOB_SIZE + 1, 2 ** 53]) {
    assert.throws(() => new Layout(size), RangeError, `${size}`);
  }
  for (const pieceLength of [0, -1, 1000, Number.NaN, 2 ** 30]) {
    assert.throws(() => new Layout(MiB, pieceLength), RangeError, `${pieceLength}`);
  }
  assert.throws(() => new Layout(MAX_BLOB_SIZE, 16 * KiB), RangeError, "too many pieces");
  assert.ok(new Layout(MAX_BLOB_SIZE).count > 0);
});
