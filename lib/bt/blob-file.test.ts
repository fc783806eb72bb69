/** @module Tests of the files behind blobs. */
import assert from "node:assert/strict";
import { open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { openBlobFile } from "./blob-file.ts";
import { prng, shuffled, tempDir, testBlob } from "./testing/blobs.ts";

const blob = testBlob(3_000_001, { pieceLength: 64 * 1024 });
const { count } = blob.layout;

test("pieces that are written at once are all in their places, and read back, fresh or not", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "x");
  const written = await openBlobFile(path, "w+");
  const order = shuffled(count, prng(1));
  await Promise.all(order.map((piece) => written.write(blob.piece(piece), blob.layout.start(piece))));
  assert.ok((await readFile(path)).equals(blob.bytes));
  const cold = await openBlobFile(path, "r");
  for (const file of [written, cold]) {
    const parts = await Promise.all(
      order.map(async (piece) => {
        const part = new Uint8Array(blob.layout.length(piece));
        await file.read(part, blob.layout.start(piece));
        return Buffer.from(part).equals(blob.piece(piece));
      }),
    );
    assert.ok(parts.every(Boolean));
    await assert.rejects(file.read(new Uint8Array(10), blob.layout.size - 9), /ends/);
    await file.read(new Uint8Array(0), 0);
    await file.close();
  }
});

test("a file that is closed ends what is under way first, and takes nothing more", async () => {
  await using dir = await tempDir();
  for (let round = 0; round < 20; round++) {
    const path = join(dir.path, String(round));
    const file = await openBlobFile(path, "w+");
    const writing = Array.from({ length: count }, (_, piece) =>
      file.write(blob.piece(piece), blob.layout.start(piece)),
    );
    const closing = file.close();
    const late = [file.write(blob.bytes, 0), file.read(new Uint8Array(1), 0)];
    const refused = Promise.all(late.map((each) => assert.rejects(each, { code: "EBADF" })));
    await Promise.all([closing, file.close()]);
    await refused;
    // The number of the descriptor is another file's by now, most likely.
    const other = join(dir.path, "other");
    await writeFile(other, "");
    const next = await open(other, "r+");
    assert.equal((await Promise.allSettled(writing)).filter(({ status }) => status === "rejected").length, 0);
    await assert.rejects(file.write(blob.bytes, 0), { code: "EBADF" });
    await assert.rejects(file.read(new Uint8Array(1), 0), { code: "EBADF" });
    await assert.rejects(file.sync());
    assert.equal((await next.stat()).size, 0);
    await next.close();
    assert.ok((await readFile(path)).equals(blob.bytes), "what was under way is whole");
  }
});

test("a read under way outlives the close", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "x");
  await writeFile(path, blob.bytes);
  const file = await openBlobFile(path, "r");
  const part = new Uint8Array(blob.layout.size);
  const reading = file.read(part, 0);
  await file.close();
  await reading;
  assert.ok(Buffer.from(part).equals(blob.bytes));
});

test("what the system refuses rejects, and the file still closes", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "x");
  await writeFile(path, blob.bytes);
  const file = await openBlobFile(path, "r");
  await assert.rejects(file.write(blob.bytes, 0), { code: "EBADF" });
  await file.close();
});
