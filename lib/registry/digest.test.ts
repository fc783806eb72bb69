/**
 * Tests of digest.
 * @module
 */
import assert from "node:assert";
import { test } from "node:test";
import { createDigestHash, DigestError, isDigest, parseDigest } from "./digest.ts";

const hex64 = "0123456789abcdef".repeat(4);

test("sha256 and sha512 are read", () => {
  const digest = parseDigest(`sha256:${hex64}`);
  assert.deepStrictEqual([digest.algorithm, digest.hex, String(digest)], ["sha256", hex64, `sha256:${hex64}`]);
  assert.strictEqual(parseDigest(`sha512:${hex64}${hex64}`).hex.length, 128);
  assert.strictEqual(JSON.stringify({ digest }), `{"digest":"sha256:${hex64}"}`);
});

test("everything else is refused", () => {
  const wrong = [
    "",
    hex64,
    "sha256:",
    `sha256:${hex64.slice(1)}`,
    `sha256:${hex64}0`,
    `sha256:${hex64.toUpperCase()}`,
    `SHA256:${hex64}`,
    `sha512:${hex64}`,
    `sha1:${"0".repeat(40)}`,
    `md5:${"0".repeat(32)}`,
    `sha256:${hex64}\n`,
    ` sha256:${hex64}`,
    `sha256:../${hex64.slice(3)}`,
    "x".repeat(100_000),
  ];
  for (const text of wrong) {
    assert.throws(() => parseDigest(text), DigestError, text.slice(0, 100));
    assert.strictEqual(isDigest(text), false);
  }
});

test("the hash is of the digest's algorithm", () => {
  const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  assert.strictEqual(createDigestHash(parseDigest(`sha256:${empty}`)).digest("hex"), empty);
  assert.strictEqual(createDigestHash(parseDigest(`sha512:${hex64}${hex64}`)).digest().length, 64);
});
