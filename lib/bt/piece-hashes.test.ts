/** @module Tests of the list of piece hashes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PieceHashes, sameHash } from "./piece-hashes.ts";
import { testBlob } from "./testing/blobs.ts";

const blob = testBlob(200_000, { pieceLength: 16 * 1024 });

test("a list fills up in any order", () => {
  const hashes = new PieceHashes(blob.layout.count);
  assert.equal(hashes.complete, false);
  for (let piece = blob.layout.count - 1; piece >= 0; piece--) {
    assert.equal(hashes.get(piece), undefined);
    assert.equal(hashes.set(piece, blob.sha1(piece)), true);
    assert.deepEqual(hashes.get(piece), blob.sha1(piece));
  }
  assert.ok(hashes.complete);
  assert.deepEqual(hashes.bytes, blob.metainfo.pieces);
});

test("told again it must be the same, and what was known stays", () => {
  const hashes = new PieceHashes(3, blob.metainfo.pieces.subarray(0, 60));
  assert.ok(hashes.complete);
  assert.equal(hashes.set(1, blob.sha1(1)), true);
  assert.equal(hashes.set(1, blob.sha1(2)), false);
  assert.deepEqual(hashes.get(1), blob.sha1(1));
});

test("pieces outside the blob have no hash", () => {
  const hashes = new PieceHashes(3);
  for (const piece of [-1, 3, 1000]) {
    hashes.set(piece, blob.sha1(0));
    assert.equal(hashes.get(piece), undefined);
  }
  assert.equal(hashes.known.count, 0);
});

test("hashes of different length are different", () => {
  assert.equal(sameHash(blob.sha1(0), blob.sha1(0).subarray(1)), false);
  assert.equal(sameHash(new Uint8Array(0), new Uint8Array(0)), true);
});
