/**
 * Tests of content-range.
 * @module
 */
import assert from "node:assert";
import { test } from "node:test";
import { parseContentRange } from "./content-range.ts";

test("Content-Range", () => {
  assert.deepStrictEqual(parseContentRange("bytes 0-9/10"), { start: 0, end: 10, size: 10 });
  assert.deepStrictEqual(parseContentRange("bytes 5-5/*"), { start: 5, end: 6, size: undefined });
  assert.deepStrictEqual(parseContentRange("bytes */0"), { start: undefined, size: 0 });
  for (const wrong of [
    null,
    "",
    "bytes */*",
    "bytes 5-4/10",
    "bytes 0-10/10",
    "bytes 0-1",
    "items 0-1/2",
    "bytes -1/2",
    "bytes 0-1/2, bytes 1-1/2",
    `bytes 0-${"9".repeat(30)}/${"9".repeat(31)}`,
    "bytes 0x0-0x1/2",
  ]) {
    assert.strictEqual(parseContentRange(wrong), undefined, String(wrong));
  }
});
