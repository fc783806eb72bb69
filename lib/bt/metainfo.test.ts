/** @module Tests of the metainfo dictionary. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import bencode from "bencode";
import { decodeMetainfo, encodeMetainfo, infoHash, MetainfoError } from "./metainfo.ts";
import { prng, testBlob } from "./testing/blobs.ts";

const blob = testBlob(1024 * 1024 + 17);

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

test("the info dictionary is exact to the byte", () => {
  const pieces = latin1(blob.metainfo.pieces);
  const info = `d6:lengthi${blob.layout.size}e4:name70:${blob.digest.hex}.layer12:piece lengthi524288e6:pieces60:${pieces}7:privatei1ee`;
  assert.equal(latin1(encodeMetainfo(blob.metainfo)), `d4:info${info}e`);
  assert.deepEqual(Buffer.from(infoHash(blob.metainfo)), createHash("sha1").update(info, "latin1").digest());
});

test("trackers, web seeds and the public mark stay outside the info dictionary", () => {
  const announce = [["http://a/announce", "http://b/announce"], ["http://c/announce"]];
  const full = { ...blob.metainfo, announce, urlList: ["http://s/p2p"], isPublic: true };
  assert.deepEqual(infoHash(full), infoHash(blob.metainfo));
  const text = latin1(encodeMetainfo(full));
  assert.match(text, /^d8:announce17:http:\/\/a\/announce13:announce-listll17:/);
  assert.match(text, /12:eagle-publici1e4:infod/);
  assert.match(text, /8:url-listl12:http:\/\/s\/p2pee$/);
});

test("what is encoded is decoded", () => {
  for (const isPublic of [true, false, undefined]) {
    const given = { ...blob.metainfo, ...(isPublic === undefined ? {} : { isPublic }) };
    const read = decodeMetainfo(encodeMetainfo(given));
    assert.equal(read.id, blob.digest.hex);
    assert.ok(read.layout.equals(blob.layout));
    assert.deepEqual(Buffer.from(read.pieces), Buffer.from(blob.metainfo.pieces));
    assert.equal(read.isPublic, isPublic);
  }
});

test("hostile metainfo is refused with MetainfoError alone", () => {
  const info = {
    length: blob.layout.size,
    name: `${blob.digest.hex}.layer`,
    "piece length": 524288,
    pieces: blob.metainfo.pieces,
    private: 1,
  };
  const dictionaries: unknown[] = [
    { info: { ...info, length: 0 } },
    { info: { ...info, length: -5 } },
    { info: { ...info, length: 2 ** 52 } },
    { info: { ...info, "piece length": 1 } },
    { info: { ...info, "piece length": 0 } },
    { info: { ...info, pieces: blob.metainfo.pieces.subarray(1) } },
    { info: { ...info, pieces: new Uint8Array(0) } },
    { info: { ...info, pieces: 7 } },
    { info: { ...info, name: "../../etc/passwd" } },
    { info: { ...info, name: `${blob.digest.hex}/../x` } },
    { info: { ...info, name: blob.digest.hex.toUpperCase() } },
    { info: [] },
    { info: "x" },
    {},
    [],
    3,
    { info: { length: "x" } },
  ];
  for (const value of dictionaries) {
    assert.throws(() => decodeMetainfo(bencode.encode(value)), MetainfoError, JSON.stringify(value)?.slice(0, 80));
  }
  for (const text of [
    "",
    "d",
    "i",
    "x",
    "d4:info",
    "999999999999:",
    "l".repeat(200_000),
    `d4:info${"d1:a".repeat(100_000)}`,
    "i1e",
    "d-1:",
  ]) {
    assert.throws(() => decodeMetainfo(Buffer.from(text)), MetainfoError, text.slice(0, 20));
  }
});

test("a metainfo with any byte changed is another blob's or refused, never a crash", () => {
  const random = prng(5);
  const good = encodeMetainfo(blob.metainfo);
  for (let round = 0; round < 2000; round++) {
    const bad = Uint8Array.from(good);
    for (let flips = 0; flips <= random() * 3; flips++) bad[Math.floor(random() * bad.length)] = random() * 256;
    const cut = bad.subarray(0, random() < 0.3 ? Math.floor(random() * bad.length) : bad.length);
    try {
      assert.ok(decodeMetainfo(cut).layout.count > 0);
    } catch (error) {
      assert.ok(error instanceof MetainfoError, String(error));
    }
  }
});
