/** @module Tests of reading answers. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type BencodeInput, encodeBencode } from "../bencode/bencode.ts";
import { packAddress } from "./address.ts";
import { INTERVAL_BOUNDS_MS, MAX_PEERS, mergePeers, parseAnnounceAnswer } from "./announce-answer.ts";
import { TrackerError, type TrackerErrorCode } from "./errors.ts";

const dict = (fields: Record<string, BencodeInput>) => new Map(Object.entries(fields));
const parse = (fields: Record<string, BencodeInput>) => parseAnnounceAnswer(encodeBencode(dict(fields)));
const code = (wanted: TrackerErrorCode) => (error: unknown) => error instanceof TrackerError && error.code === wanted;

test("reads packed peers, IPv6 too", () => {
  const peers = Buffer.concat([packAddress("10.0.0.1", 80), packAddress("10.0.0.2", 65535)]);
  const peers6 = packAddress("2001:db8::7", 6006);
  const answer = parse({ interval: 10, complete: 3, incomplete: 4, peers, peers6 });
  assert.deepEqual(answer, {
    peers: [
      { host: "10.0.0.1", port: 80 },
      { host: "10.0.0.2", port: 65535 },
      { host: "2001:db8::7", port: 6006 },
    ],
    intervalMs: 10_000,
    complete: 3,
    incomplete: 4,
  });
});

test("reads peers with ids; leaves out what cannot be one", () => {
  const id = Uint8Array.from({ length: 20 }, (_, i) => 250 - i);
  const peer = (ip: BencodeInput, port: BencodeInput, more: Record<string, BencodeInput> = {}) =>
    dict({ ip, port, ...more });
  const { peers } = parse({
    peers: [
      peer("10.0.0.1", 1, { "peer id": id }),
      peer("::1", 2, { "peer id": "short" }),
      peer("example.org", 3),
      peer("10.0.0.4", 0),
      peer("10.0.0.5", 65536),
      peer("0.0.0.0", 6),
      peer("224.0.0.1", 7),
      peer("10.0.0.8", "8"),
      peer(9, 9),
      peer("1".repeat(100_000), 10),
      dict({}),
      "x",
      [],
      5,
    ],
  });
  assert.deepEqual(peers, [
    { host: "10.0.0.1", port: 1, peerId: Buffer.from(id).toString("hex") },
    { host: "::1", port: 2 },
  ]);
});

test("bounds peers and intervals", () => {
  const peers = Buffer.concat(Array.from({ length: 5000 }, (_, i) => packAddress("10.0.0.1", i + 1)));
  assert.equal(parse({ peers }).peers.length, MAX_PEERS);
  assert.equal(parse({ interval: 0 }).intervalMs, INTERVAL_BOUNDS_MS.absent);
  assert.equal(parse({ interval: -9 }).intervalMs, INTERVAL_BOUNDS_MS.absent);
  assert.equal(parse({ interval: "1" }).intervalMs, INTERVAL_BOUNDS_MS.absent);
  assert.equal(parse({ interval: 1 }).intervalMs, INTERVAL_BOUNDS_MS.least);
  assert.equal(parse({ interval: 9e14 }).intervalMs, INTERVAL_BOUNDS_MS.most);
});

test("says what is wrong", () => {
  assert.throws(() => parse({ "failure reason": "go away" }), /refused: go away/);
  assert.throws(() => parse({ "failure reason": 1 }), code("refused"));
  assert.throws(() => parse({ peers: "12345" }), code("invalid"));
  assert.throws(() => parseAnnounceAnswer(encodeBencode([])), code("invalid"));
  for (const text of ["", "<html>", "d5:peers", "l".repeat(500_000)]) {
    assert.throws(() => parseAnnounceAnswer(Buffer.from(text)), code("invalid"));
  }
});

test("merges lists by turns, each address once", () => {
  const merged = mergePeers([
    [
      { host: "10.0.0.1", port: 1 },
      { host: "10.0.0.2", port: 1 },
    ],
    [
      { host: "10.0.0.3", port: 1 },
      { host: "10.0.0.1", port: 1, peerId: "aa" },
      { host: "10.0.0.4", port: 1 },
    ],
  ]);
  assert.deepEqual(
    merged.map(({ host, peerId }) => `${host} ${peerId}`),
    ["10.0.0.1 aa", "10.0.0.3 undefined", "10.0.0.2 undefined", "10.0.0.4 undefined"],
  );
  const many = Array.from({ length: 700 }, (_, i) => ({ host: "10.0.0.1", port: i + 1 }));
  assert.equal(mergePeers([many, many.map(({ port }) => ({ host: "10.0.0.2", port }))]).length, MAX_PEERS);
});
