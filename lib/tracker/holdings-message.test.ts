/** @module Tests of reading heartbeats. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { TrackerError } from "./errors.ts";
import { MAX_MESSAGE_BYTES, parseHoldingsAnswer, parseHoldingsMessage } from "./holdings-message.ts";

const good = { peer: "ab".repeat(20), port: 1, epoch: "e", lease: 60, seq: 1 };
const bytes = (value: unknown) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
const long = (n: number) => `sha512:${n.toString(16).padStart(128, "0")}`;

test("reads heartbeats, with defaults; a full one fits the limit of bytes", () => {
  assert.deepEqual(parseHoldingsMessage(bytes({ ...good, future: 1 })), { ...good, add: [], remove: [] });
  const add = Array.from({ length: 5000 }, (_, n) => long(n));
  const body = bytes({ ...good, add });
  assert.ok(body.length < MAX_MESSAGE_BYTES);
  assert.equal(parseHoldingsMessage(body).add.length, 5000);
});

test("refuses what is none, and names the field", () => {
  const cases: [unknown, RegExp][] = [
    ["", /no JSON/],
    ["{", /no JSON/],
    ["null", /heartbeat/],
    [{ ...good, peer: "x" }, /peer/],
    [{ ...good, port: 0 }, /port/],
    [{ ...good, port: 1.5 }, /port/],
    [{ ...good, lease: -1 }, /lease/],
    [{ ...good, lease: null }, /lease/],
    [{ ...good, seq: -1 }, /seq/],
    [{ ...good, epoch: "e".repeat(65) }, /epoch/],
    [{ ...good, zone: "z".repeat(65) }, /zone/],
    [{ ...good, add: ["sha256:ABC"] }, /add\.0/],
    [{ ...good, add: Array(5001).fill(long(1)) }, /add/],
    [{ ...good, add: Array(3000).fill(long(1)), remove: Array(3000).fill(long(1)) }, /5000 digests/],
  ];
  for (const [value, message] of cases) {
    assert.throws(
      () => parseHoldingsMessage(bytes(value)),
      (error) => error instanceof TrackerError && error.code === "invalid" && message.test(error.message),
      String(message),
    );
  }
  assert.throws(() => parseHoldingsMessage(Uint8Array.of(0x22, 0xff, 0x22)), TrackerError);
  assert.throws(() => parseHoldingsAnswer(bytes({ lease: 60 })), TrackerError);
});
