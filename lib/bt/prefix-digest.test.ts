/** @module Tests of the digest along the growing prefix. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { Bitfield } from "./bitfield.ts";
import { type BlobFile, openBlobFile } from "./blob-file.ts";
import { PrefixDigest } from "./prefix-digest.ts";
import { prng, shuffled, tempDir, testBlob } from "./testing/blobs.ts";

const blob = testBlob(300_000, { pieceLength: 16 * 1024 });

test("the digest agrees whatever order the pieces come in", async () => {
  await using dir = await tempDir();
  for (let seed = 0; seed < 12; seed++) {
    const random = prng(seed);
    const file = await openBlobFile(join(dir.path, String(seed)), "w+");
    const have = new Bitfield(blob.layout.count);
    const prefix = new PrefixDigest({ digest: blob.digest, layout: blob.layout, have, file });
    const order = seed === 0 ? [...have.clone()] : shuffled(blob.layout.count, random);
    const running: Promise<void>[] = [];
    for (const piece of seed === 0 ? shuffled(blob.layout.count, () => 0.999) : order) {
      const buffer = Uint8Array.from(blob.piece(piece));
      await file.write(buffer, blob.layout.start(piece));
      prefix.offer(piece, buffer);
      // The caller may use its buffer again at once.
      buffer.fill(0xee);
      have.add(piece);
      running.push(prefix.advance());
      if (random() < 0.3) await Promise.all(running);
    }
    await Promise.all(running);
    assert.ok(prefix.complete);
    assert.equal(prefix.agrees(), true);
    await file.close();
  }
});

test("one wrong byte anywhere is noticed", async () => {
  await using dir = await tempDir();
  for (const position of [0, 150_000, blob.layout.size - 1]) {
    const file = await openBlobFile(join(dir.path, String(position)), "w+");
    const bytes = Uint8Array.from(blob.bytes);
    bytes[position]! ^= 1;
    await file.write(bytes, 0);
    const have = new Bitfield(blob.layout.count);
    have.addAll();
    const prefix = new PrefixDigest({ digest: blob.digest, layout: blob.layout, have, file });
    await prefix.advance();
    assert.equal(prefix.agrees(), false);
    await file.close();
  }
});

test("a disk that fails rejects all who wait, and a later try goes on", async () => {
  let broken = true;
  const file: BlobFile = {
    async read(target, position) {
      await Promise.resolve();
      if (broken) throw new Error("EIO");
      target.set(blob.bytes.subarray(position, position + target.length));
    },
    write: async () => {},
    sync: async () => {},
    close: async () => {},
  };
  const have = new Bitfield(blob.layout.count);
  have.addAll();
  const prefix = new PrefixDigest({ digest: blob.digest, layout: blob.layout, have, file });
  const results = await Promise.allSettled([prefix.advance(), prefix.advance()]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ["rejected", "rejected"],
  );
  assert.equal(prefix.complete, false);
  broken = false;
  await prefix.advance();
  assert.equal(prefix.agrees(), true);
});

test("it says whether there is something to read, also while it reads", async () => {
  let waiting = Promise.withResolvers<void>();
  const file: BlobFile = {
    async read(target, position) {
      await waiting.promise;
      target.set(blob.bytes.subarray(position, position + target.length));
    },
    write: async () => {},
    sync: async () => {},
    close: async () => {},
  };
  const { count } = blob.layout;
  const have = new Bitfield(count);
  const prefix = new PrefixDigest({ digest: blob.digest, layout: blob.layout, have, file });
  assert.equal(prefix.isBehind, false);
  have.add(1);
  assert.equal(prefix.isBehind, false, "the first is missing");
  prefix.offer(0, blob.piece(0));
  have.add(0);
  assert.equal(prefix.isBehind, true, "the second came before");
  const first = prefix.advance();
  have.add(2);
  assert.equal(prefix.isBehind, false, "what comes while it reads is read as well");
  waiting.resolve();
  await first;
  assert.equal(prefix.isBehind, false);
  for (let piece = 3; piece < count; piece++) have.add(piece);
  waiting = Promise.withResolvers<void>();
  waiting.reject(new Error("EIO"));
  await assert.rejects(prefix.advance(), /EIO/);
  assert.equal(prefix.isBehind, true, "a read that failed leaves the rest to the next");
  waiting = Promise.withResolvers<void>();
  waiting.resolve();
  await prefix.advance();
  assert.ok(prefix.complete && !prefix.isBehind && prefix.agrees());
});
