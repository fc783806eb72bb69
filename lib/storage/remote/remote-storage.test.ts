/** @module Tests of what a storage elsewhere does beyond the suite: the hot tier, reads by range, what it verifies. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { MemoryStore } from "../memory.ts";
import type { ObjectRead } from "../object-store.ts";
import { BlobNotFoundError, type BlobShape } from "../storage.ts";
import { RemoteStorage, type RemoteStorageOptions } from "./remote-storage.ts";

const pieceLength = 64 * 1024;

/** A store that counts and fails on demand, and does not end with the storage. */
class Bucket extends MemoryStore {
  readonly ranges: [start: number, end: number][] = [];
  /** Bodies that break after so many bytes. */
  cuts: number[] = [];

  override async get(key: string, range?: { start: number; end: number }): Promise<ObjectRead | undefined> {
    if (range) this.ranges.push([range.start, range.end]);
    const read = await super.get(key, range);
    const cut = range ? this.cuts.shift() : undefined;
    return read && cut !== undefined ? { ...read, body: cutAt(read.body, cut) } : read;
  }

  override async close(): Promise<void> {}
}

async function* cutAt(body: AsyncIterable<Uint8Array>, at: number): AsyncGenerator<Uint8Array> {
  for await (const bytes of body) {
    yield bytes.subarray(0, at);
    throw new Error("cut");
  }
}

function content(pieces: number): { id: string; bytes: Buffer; shape: BlobShape } {
  const bytes = randomBytes(pieces * pieceLength - 7);
  const sha1s = Array.from({ length: pieces }, (_, piece) =>
    sha1(bytes.subarray(piece * pieceLength, (piece + 1) * pieceLength)),
  );
  const verify = (piece: number, got: Uint8Array) => sha1(got) === sha1s[piece];
  return {
    id: createHash("sha256").update(bytes).digest("hex"),
    bytes,
    shape: { size: bytes.length, pieceLength, verify },
  };
}

function sha1(bytes: Uint8Array): string {
  return createHash("sha1").update(bytes).digest("hex");
}

async function world() {
  const root = await mkdtemp(join(tmpdir(), "eagle-remote-"));
  const bucket = new Bucket();
  return {
    root,
    bucket,
    open: (options: Partial<RemoteStorageOptions> = {}) =>
      RemoteStorage.open(bucket, { rootDirectory: root, ...options }),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  };
}

async function readAll(storage: RemoteStorage, { id, shape }: { id: string; shape: BlobShape }): Promise<Buffer> {
  const reader = storage.remote.open(id, shape);
  try {
    const bytes = Buffer.alloc(shape.size);
    const step = 50_000;
    for (let at = 0; at < bytes.length; at += step) await reader.read(bytes.subarray(at, at + step), at);
    return bytes;
  } finally {
    await reader.close();
  }
}

test("a sequence is read ahead in few requests, each piece once, and then comes from this host", async () => {
  await using at = await world();
  const blob = content(40);
  await at.bucket.put(`data/${blob.id}.layer`, blob.bytes);
  {
    await using storage = await at.open();
    assert.ok((await readAll(storage, blob)).equals(blob.bytes));
    assert.ok(at.bucket.ranges.length <= 4, `${at.bucket.ranges.length} requests`);
    const read = at.bucket.ranges.reduce((sum, [start, end]) => sum + end - start, 0);
    assert.equal(read, blob.bytes.length);
    const requests = at.bucket.ranges.length;
    assert.ok((await readAll(storage, blob)).equals(blob.bytes));
    assert.equal(at.bucket.ranges.length, requests);
    // Complete, it is an ordinary file, which the next process takes over.
    await eventually(() => readdir(storage.getDataDir()), [`${blob.id}.layer`]);
  }
  await using storage = await at.open();
  assert.ok((await readAll(storage, blob)).equals(blob.bytes));
  assert.ok(at.bucket.ranges.length <= 4);
});

test("many readers of one piece make one request", async () => {
  await using at = await world();
  const blob = content(3);
  await at.bucket.put(`data/${blob.id}.layer`, blob.bytes);
  await using storage = await at.open({ limitSize: 1 });
  const reader = storage.remote.open(blob.id, blob.shape);
  await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      const part = Buffer.alloc(100);
      await reader.read(part, pieceLength + index);
      assert.ok(part.equals(blob.bytes.subarray(pieceLength + index, pieceLength + index + 100)));
    }),
  );
  assert.deepEqual(at.bucket.ranges, [[pieceLength, 2 * pieceLength]]);
});

test("a body that breaks is read on from the last whole piece; one that breaks again and again fails", async () => {
  await using at = await world();
  const blob = content(20);
  await at.bucket.put(`data/${blob.id}.layer`, blob.bytes);
  await using storage = await at.open({ limitSize: 1 });
  at.bucket.cuts = [100, 3 * pieceLength + 5];
  assert.ok((await readAll(storage, blob)).equals(blob.bytes));
  at.bucket.cuts = [1, 1, 1];
  const other = content(1);
  await at.bucket.put(`data/${other.id}.layer`, other.bytes);
  await assert.rejects(readAll(storage, other), /cut/);
  assert.ok((await readAll(storage, other)).equals(other.bytes));
});

test("wrong bytes and missing blobs reach nobody", async () => {
  await using at = await world();
  const blob = content(4);
  const wrong = Buffer.from(blob.bytes);
  wrong[2 * pieceLength] = wrong[2 * pieceLength]! ^ 1;
  await at.bucket.put(`data/${blob.id}.layer`, wrong);
  await using storage = await at.open();
  await assert.rejects(readAll(storage, blob), { code: "digest_mismatch" });
  const missing = content(1);
  await assert.rejects(readAll(storage, missing), BlobNotFoundError);
  await assert.rejects(storage.remote.open(blob.id, blob.shape).read(new Uint8Array(2), blob.bytes.length - 1), {
    code: "invalid_range",
  });
});

test("an upload that is not its digest leaves nothing, and the file where it was", async () => {
  await using at = await world();
  await using storage = await at.open();
  const { id } = content(1);
  const path = storage.getPartialPath(id);
  await writeFile(path, "other bytes");
  await assert.rejects(storage.upload(id, { path }, { verify: true }), { code: "digest_mismatch" });
  await assert.rejects(storage.stat(id), BlobNotFoundError);
  assert.deepEqual(await readdir(join(at.root, "partial")), [id]);
});

test("the hot tier keeps within its limit, the last used last, and nothing is deleted elsewhere", async () => {
  await using at = await world();
  const limitSize = 12 * pieceLength;
  await using storage = await at.open({ limitSize });
  const blobs = Array.from({ length: 5 }, () => content(4));
  for (const { id, bytes } of blobs) {
    const path = storage.getPartialPath(id);
    await writeFile(path, bytes);
    await storage.upload(id, { path }, { verify: true });
  }
  const kept = async () => (await readdir(storage.getDataDir())).map((name) => name.slice(0, 64)).sort();
  await eventually(
    kept,
    blobs
      .slice(2)
      .map(({ id }) => id)
      .sort(),
  );
  for (const blob of blobs) assert.ok((await readAll(storage, blob)).equals(blob.bytes));
  await storage.remote.makeRoom(limitSize);
  await eventually(kept, []);
  const listed = [];
  for await (const { id } of storage.list()) listed.push(id);
  assert.deepEqual(listed.sort(), blobs.map(({ id }) => id).sort());
});

test("what somebody else stored is kept without storing it again", async () => {
  await using at = await world();
  await using storage = await at.open();
  const blob = content(3);
  await at.bucket.put(`data/${blob.id}.layer`, blob.bytes);
  await writeFile(storage.getPartialPath(blob.id), blob.bytes);
  await storage.remote.keep(blob.id, storage.getPartialPath(blob.id));
  assert.ok((await readAll(storage, blob)).equals(blob.bytes));
  assert.deepEqual(at.bucket.ranges, []);
});

/** Files are removed and completed behind the back of those who cause it. */
async function eventually<T>(ask: () => Promise<T>, expected: T): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (isDeepStrictEqual(await ask(), expected)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.deepEqual(await ask(), expected);
}
