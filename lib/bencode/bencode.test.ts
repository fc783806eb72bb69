/** @module Tests of bencoding. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type BencodeInput, decodeBencode, encodeBencode } from "./bencode.ts";

const bytes = (text: string) => Buffer.from(text, "latin1");

test("reads what it writes, binary keys and all", () => {
  const input = new Map<string, BencodeInput>([
    ["z", [1, -5, 0, Number.MAX_SAFE_INTEGER]],
    ["\xff\x00", Uint8Array.of(255, 0)],
    ["a", new Map([["ä", "ä"]])],
  ]);
  const written = encodeBencode(input);
  assert.equal(
    Buffer.from(written).toString("latin1"),
    "d1:ad1:\xe42:\xc3\xa4e1:zli1ei-5ei0ei9007199254740991ee2:\xff\x002:\xff\x00e",
  );
  const read = decodeBencode(written);
  assert.ok(read instanceof Map);
  assert.deepEqual([...read.keys()], ["a", "z", "\xff\x00"]);
  assert.deepEqual(read.get("z"), [1, -5, 0, Number.MAX_SAFE_INTEGER]);
});

test("refuses everything else, in bounded time", () => {
  const bad = [
    "",
    "i1",
    "ie",
    "i-e",
    "i1.5e",
    "i99999999999999999999e",
    "5:abc",
    "-5:abc",
    "l-2:",
    "99999999999999999999:a",
    "d",
    "d1:a",
    "di1ei1ee",
    "l",
    "li1e",
    "x",
    "i1ei2e",
    "l".repeat(100) + "e".repeat(100),
    `l${"i1e".repeat(30_000)}e`,
    "l".repeat(1_000_000),
  ];
  for (const text of bad) assert.throws(() => decodeBencode(bytes(text)), SyntaxError, text.slice(0, 40));
});

test("damaged answers never do more than throw a SyntaxError", () => {
  const good = encodeBencode(new Map<string, BencodeInput>([["peers", [new Map([["ip", "10.0.0.1"]]), 7]]]));
  let state = 42;
  for (let i = 0; i < 5000; i += 1) {
    const damaged = Buffer.from(good);
    for (let n = 0; n < 3; n += 1) {
      state = (state * 1103515245 + 12345) & 0x7fffffff;
      damaged[state % damaged.length] = (state >> 8) & 255;
    }
    try {
      decodeBencode(damaged);
    } catch (error) {
      assert.ok(error instanceof SyntaxError);
    }
  }
});
