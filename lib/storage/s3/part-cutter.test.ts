/** @module Tests of cutting streams into parts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cutParts, partLength } from "./part-cutter.ts";

const mebibyte = 1 << 20;
const [terabyte, gibibyte] = [1024 ** 4, 1024 ** 3];

test("parts are few where that is cheap, and never more than S3 takes", () => {
  assert.equal(partLength(1, 5 * gibibyte), 8 * mebibyte);
  assert.ok((20 * gibibyte) / partLength(1, 20 * gibibyte) <= 1000);
  assert.ok((5 * terabyte) / partLength(1, 5 * terabyte) <= 10_000);
  let unknown = 0;
  for (let number = 1; number <= 10_000; number++) unknown += partLength(number, undefined);
  assert.ok(unknown >= 600 * gibibyte, `${unknown / gibibyte} GiB`);
});

test("any stream comes out as it was, in equal parts but the last", async () => {
  for (const [size, chunk] of [
    [0, 1],
    [10, 3],
    [8 * mebibyte, 100_000],
    [20 * mebibyte + 1, 3 * mebibyte],
  ] as const) {
    for (const known of [true, false]) {
      const lengths: number[] = [];
      let position = 0;
      for await (const { number, bytes, last, release } of cutParts(counting(size, chunk), known ? size : undefined)) {
        assert.equal(number, lengths.length + 1);
        if (bytes.length > 0)
          assert.deepEqual([bytes[0], bytes.at(-1)], [position % 251, (position + bytes.length - 1) % 251]);
        position += bytes.length;
        lengths.push(bytes.length);
        assert.equal(last, position === size);
        release();
      }
      assert.equal(position, size);
      assert.ok(lengths.slice(0, -1).every((length) => length === 8 * mebibyte));
    }
  }
});

async function* counting(size: number, step: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < size; at += step) {
    yield Uint8Array.from({ length: Math.min(step, size - at) }, (_, index) => (at + index) % 251);
  }
}
