/**
 * @module
 * Tests of the Range header parser.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseRange, type RangeResult } from "./ranges.ts";

const whole: RangeResult = { kind: "whole" };
const unsatisfiable: RangeResult = { kind: "unsatisfiable" };
const range = (start: number, end: number): RangeResult => ({ kind: "range", start, end });

const cases: [header: string | null, size: number, expected: RangeResult][] = [
  [null, 10, whole],
  ["", 10, whole],
  ["bytes=0-0", 10, range(0, 1)],
  ["bytes=0-9", 10, range(0, 10)],
  ["bytes=2-", 10, range(2, 10)],
  ["bytes=9-", 10, range(9, 10)],
  ["BYTES=1-2", 10, range(1, 3)],
  [" bytes=1-2 ", 10, range(1, 3)],
  ["bytes=5-100", 10, range(5, 10)],
  ["bytes=5-99999999999999999999999", 10, range(5, 10)],
  ["bytes=-3", 10, range(7, 10)],
  ["bytes=-100", 10, range(0, 10)],
  ["bytes=-0", 10, unsatisfiable],
  ["bytes=10-", 10, unsatisfiable],
  ["bytes=10-20", 10, unsatisfiable],
  ["bytes=99999999999999999999999-", 10, unsatisfiable],
  [`bytes=${"9".repeat(500)}-`, 10, unsatisfiable],
  ["bytes=0-", 0, unsatisfiable],
  ["bytes=-5", 0, whole],
  ["bytes=5-4", 10, whole],
  ["bytes=-", 10, whole],
  ["bytes=a-b", 10, whole],
  ["bytes=1-2,4-5", 10, whole],
  ["bytes=0-0,-1", 10, whole],
  ["bytes 0-1", 10, whole],
  ["bytes=+1-2", 10, whole],
  ["bytes=0x1-2", 10, whole],
  ["bytes=1.5-2", 10, whole],
  ["bytes=--1", 10, whole],
  ["items=0-1", 10, whole],
];

for (const [header, size, expected] of cases) {
  test(`Range ${JSON.stringify(header?.slice(0, 40) ?? null)} of ${size} bytes`, () => {
    assert.deepEqual(parseRange(header, size), expected);
  });
}

test("any single range stays within the representation", () => {
  for (let size = 0; size < 6; size++) {
    for (let a = 0; a < 8; a++) {
      for (let b = 0; b < 8; b++) {
        const result = parseRange(`bytes=${a}-${b}`, size);
        if (result.kind === "range") {
          assert.ok(0 <= result.start && result.start < result.end && result.end <= size);
          assert.equal(result.start, a);
        }
      }
    }
  }
});
