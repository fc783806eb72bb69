/** @module Tests of the set of pieces. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Bitfield } from "./bitfield.ts";
import { prng } from "./testing/blobs.ts";

test("a bitfield agrees with a plain set through any history", () => {
  const random = prng(7);
  for (const length of [0, 1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 1000]) {
    const bits = new Bitfield(length);
    const model = new Set<number>();
    for (let step = 0; step < 400; step++) {
      const index = Math.floor(random() * (length + 4)) - 2;
      const inside = index >= 0 && index < length;
      if (random() < 0.6) assert.equal(bits.add(index), inside && !model.has(index) && !!model.add(index));
      else assert.equal(bits.delete(index), model.delete(index));
      assert.equal(bits.has(index), model.has(index));
      assert.equal(bits.count, model.size);
    }
    assert.deepEqual(
      [...bits],
      [...model].sort((a, b) => a - b),
    );
    for (let from = 0; from <= length; from++) {
      let expected = from;
      while (expected < length && model.has(expected)) expected++;
      assert.equal(bits.firstMissing(from), expected);
    }
    const copy = bits.clone();
    assert.deepEqual([...copy], [...bits]);
    assert.equal(copy.count, bits.count);
    copy.clear();
    assert.equal(copy.count, 0);
    assert.equal(bits.count, model.size, "a clone shares nothing");
    const again = new Bitfield(length, bits.bytes);
    assert.deepEqual([...again], [...bits]);
    assert.equal(again.count, bits.count);
    bits.addAll();
    assert.ok(bits.full && bits.count === length && bits.firstMissing() === length);
  }
});

test("the bit order is BEP 3's: the high bit of the first byte is piece 0", () => {
  const bits = new Bitfield(12);
  bits.add(0);
  bits.add(9);
  assert.deepEqual([...bits.bytes], [0x80, 0x40]);
  assert.equal(bits.bytes.length, 2);
});

test("bytes of another length and spare bits are refused", () => {
  assert.throws(() => new Bitfield(12, new Uint8Array(1)), RangeError);
  assert.throws(() => new Bitfield(12, new Uint8Array(3)), RangeError);
  assert.throws(() => new Bitfield(12, Uint8Array.of(0, 0x08)), RangeError);
  assert.throws(() => new Bitfield(33, Uint8Array.of(0, 0, 0, 0, 0x7f)), RangeError);
  assert.equal(new Bitfield(12, Uint8Array.of(0xff, 0xf0)).count, 12);
  assert.equal(new Bitfield(8, Uint8Array.of(0xff)).full, true);
});

test("tells whether it has what another lacks", () => {
  const [one, other] = [new Bitfield(70), new Bitfield(70)];
  assert.equal(one.hasBeyond(other), false);
  one.add(69);
  assert.equal(one.hasBeyond(other), true);
  other.add(69);
  other.add(3);
  assert.equal(one.hasBeyond(other), false);
});
