/** @module Tests of the look at a connection's first bytes. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { HANDSHAKE_PREFIX, readInfoHash } from "./handshake.ts";

const hash = Buffer.from(Array.from({ length: 20 }, (_, index) => index * 11));
const whole = Buffer.concat([Buffer.from("\x13BitTorrent protocol", "latin1"), randomBytes(8), hash, randomBytes(20)]);

test("the info hash is found as soon as it is there", () => {
  for (let length = 0; length <= whole.length; length++) {
    const found = readInfoHash(whole.subarray(0, length));
    assert.equal(found, length < HANDSHAKE_PREFIX ? "more" : hash.toString("hex"), `${length} bytes`);
  }
});

test("anything else is told by its first wrong byte", () => {
  assert.equal(readInfoHash(Buffer.from("GET / HTTP/1.1\r\n")), undefined);
  assert.equal(readInfoHash(Buffer.from("\x13BitTorrenT", "latin1")), undefined);
  assert.equal(readInfoHash(Buffer.from([0x12])), undefined);
  const encrypted = randomBytes(96);
  encrypted[0] = 0x55;
  assert.equal(readInfoHash(encrypted), undefined);
});
