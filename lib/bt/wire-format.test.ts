/** @module Tests of what peers say to each other. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { formatPeerHeader, parsePeerHeader } from "./wire-format.ts";

const peerId = "0123456789".repeat(4);

test("who asks, with a download and without", () => {
  for (const download of ["0a1b2c3d", undefined]) {
    const peer = { peerId, port: 65535, download };
    assert.deepEqual(parsePeerHeader(formatPeerHeader(peer)), peer);
  }
});

const bad = [
  "",
  "me",
  `${peerId};0`,
  `${peerId};65536`,
  `${peerId};1;`,
  `${peerId};1;0A1B2C3D`,
  `${peerId};1;0a1b2c3d4`,
];
for (const text of [undefined, null, ...bad]) {
  test(`${JSON.stringify(text)} says nothing`, () => assert.equal(parsePeerHeader(text), undefined));
}
