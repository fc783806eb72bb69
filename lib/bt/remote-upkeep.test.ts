/** @module Tests of the upkeep of a seeder whose blobs are stored elsewhere: its copies alone are its own to look after. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "../log/log.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { MemoryStore } from "../storage/memory.ts";
import { RemoteStorage } from "../storage/remote/remote-storage.ts";
import { BlobStore, type BlobStoreInit, type Fill } from "./blob-store.ts";
import { requestRemoval } from "./removal-requests.ts";
import { tempDir, testBlob, until } from "./testing/blobs.ts";

const blob = testBlob(1_200_000);

/** A bucket that outlives its seeder. */
class Bucket extends MemoryStore {
  override async close(): Promise<void> {}
}

const fill: Fill = (live) => {
  live.isPublic = true;
  void (async () => {
    await live.begin(blob.layout);
    live.addHashes(0, blob.metainfo.pieces);
    for (let piece = 0; piece < blob.layout.count; piece++) await live.store(piece, blob.piece(piece), "origin");
  })();
};
const never: Fill = () => assert.fail("is in the bucket");

async function seeder(path: string, bucket: Bucket, init: Partial<BlobStoreInit> = {}) {
  const warnings: string[] = [];
  const left: string[] = [];
  const storage = await RemoteStorage.open(bucket, { rootDirectory: path });
  const store = new BlobStore({
    storage,
    limitSize: Number.MAX_SAFE_INTEGER,
    minFree: () => 0,
    log: { ...silentLogger, warn: (message) => void warnings.push(message) },
    metrics: createMetrics("seeder"),
    onLeave: (digest) => left.push(digest),
    ...init,
  });
  await store.start();
  const read = async () => {
    using handle = await store.acquire(blob.digest, never);
    const bytes = new Uint8Array(blob.layout.size);
    await handle.blob.read(bytes, 0);
    return bytes;
  };
  return { store, storage, warnings, left, read, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

async function stored(path: string, bucket: Bucket): Promise<void> {
  await using host = await seeder(path, bucket);
  using handle = await host.store.acquire(blob.digest, fill);
  await handle.blob.done;
}

const copyOf = (path: string) => join(path, "data", `${blob.digest.hex}.layer`);

test("a damaged copy is found and given up; the blob is read from the bucket", async () => {
  await using dir = await tempDir();
  const bucket = new Bucket();
  await stored(dir.path, bucket);
  const file = await open(copyOf(dir.path), "r+");
  await file.write(Buffer.from([1 ^ blob.bytes[600_000]!]), 0, 1, 600_000);
  await file.close();
  await using host = await seeder(dir.path, bucket, { scrubRate: 1e9, scrubDelayMs: 0 });
  await until(() => host.warnings.length > 0 && !existsSync(copyOf(dir.path)), "the find");
  assert.match(host.warnings[0]!, /a copy of a stored blob is damaged/);
  assert.deepEqual(host.left, [], "the blob is here for the others");
  assert.deepEqual(await host.read(), blob.bytes);
  await until(() => existsSync(copyOf(dir.path)), "a new copy");
  assert.deepEqual(new Uint8Array(await readFile(copyOf(dir.path))), blob.bytes);
});

test("who wants a blob removed has the copy removed, and no more", async () => {
  await using dir = await tempDir();
  const bucket = new Bucket();
  await stored(dir.path, bucket);
  await using host = await seeder(dir.path, bucket);
  const id = blob.digest.hex;
  assert.ok(await requestRemoval({ rootDirectory: dir.path, id }, new AbortController().signal));
  assert.ok(!existsSync(copyOf(dir.path)));
  assert.equal(host.store.has(blob.digest), "committed");
  assert.deepEqual(await host.read(), blob.bytes);
});

test("a copy that nobody reads is given up after its time, and the bucket keeps the blob", async () => {
  await using dir = await tempDir();
  const bucket = new Bucket();
  await stored(dir.path, bucket);
  await new Promise((resolve) => setTimeout(resolve, 30));
  await using host = await seeder(dir.path, bucket, { ttlMs: 10 });
  await until(() => !existsSync(copyOf(dir.path)), "the end of its time");
  assert.deepEqual(host.left, []);
  assert.deepEqual(await host.read(), blob.bytes);
});

test("within its time it stays, as does what is read meanwhile", async () => {
  await using dir = await tempDir();
  const bucket = new Bucket();
  await stored(dir.path, bucket);
  await using host = await seeder(dir.path, bucket, { ttlMs: 60_000 });
  const { copies } = host.storage.remote;
  assert.deepEqual([...copies.ids()], [blob.digest.hex]);
  assert.equal(copies.size(blob.digest.hex), blob.layout.size);
  await new Promise((resolve) => setTimeout(resolve, 60));
  await host.read();
  copies.dropUnused(50);
  assert.equal(copies.size(blob.digest.hex), blob.layout.size);
  assert.ok(existsSync(copyOf(dir.path)));
});
