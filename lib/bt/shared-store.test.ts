/** @module Tests of a host's blobs when they are stored elsewhere and others share the place. */
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "../log/log.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { MemoryStore } from "../storage/memory.ts";
import { RemoteStorage } from "../storage/remote/remote-storage.ts";
import { BlobStore, type Fill } from "./blob-store.ts";
import { filling, tempDir, testBlob } from "./testing/blobs.ts";

class SharedBucket extends MemoryStore {
  override readonly shared: boolean = true;
  puts = 0;

  override async put(...args: Parameters<MemoryStore["put"]>): Promise<void> {
    this.puts++;
    await super.put(...args);
  }
  override async close(): Promise<void> {}
}

const blob = testBlob(1_200_000);
const never: Fill = () => assert.fail("must not be fetched");

async function openStore(bucket: SharedBucket, path: string, init: { isStoredByOther?: () => Promise<boolean> } = {}) {
  const storage = await RemoteStorage.open(bucket, { rootDirectory: path, limitSize: 5_000_000 });
  const store = new BlobStore({
    storage,
    limitSize: Number.MAX_SAFE_INTEGER,
    minFree: () => 0,
    log: silentLogger,
    metrics: createMetrics("seeder"),
    ...init,
  });
  await store.start();
  return store;
}

async function readAll(live: { read(target: Uint8Array, position: number): Promise<void> }): Promise<Uint8Array> {
  const bytes = new Uint8Array(blob.bytes.length);
  await live.read(bytes, 0);
  return bytes;
}

test("what one host committed another finds, offers and reads; also after a restart, without reading metainfo", async () => {
  await using dir = await tempDir();
  const bucket = new SharedBucket();
  await using first = await openStore(bucket, join(dir.path, "1"));
  await using second = await openStore(bucket, join(dir.path, "2"));
  assert.equal(await second.peek(blob.digest), undefined);
  {
    using handle = await first.acquire(blob.digest, filling(blob, { isPublic: true }));
    await handle.blob.done;
  }
  {
    using handle = await second.acquire(blob.digest, never);
    assert.ok(handle.blob.committed && handle.blob.isPublic);
    assert.deepEqual(await readAll(handle.blob), new Uint8Array(blob.bytes));
  }
  assert.deepEqual([...second.offered()], [blob.digest.toString()]);
  await using third = await openStore(bucket, join(dir.path, "3"));
  assert.deepEqual([...third.offered()], [blob.digest.toString()]);
  using peeked = await third.peek(blob.digest);
  assert.deepEqual(await readAll(peeked!.blob), new Uint8Array(blob.bytes));
});

test("a blob that came after the listing is found by those who only look", async () => {
  await using dir = await tempDir();
  const bucket = new SharedBucket();
  await using second = await openStore(bucket, join(dir.path, "2"));
  await using first = await openStore(bucket, join(dir.path, "1"));
  {
    using handle = await first.acquire(blob.digest, filling(blob, { isPublic: true }));
    await handle.blob.done;
  }
  using peeked = await second.peek(blob.digest);
  assert.ok(peeked?.blob.committed);
});

test("a blob that another stores is not stored again, but kept", async () => {
  await using dir = await tempDir();
  const bucket = new SharedBucket();
  {
    await using first = await openStore(bucket, join(dir.path, "1"));
    using handle = await first.acquire(blob.digest, filling(blob, { isPublic: true }));
    await handle.blob.done;
  }
  const [data, torrent] = [`data/${blob.digest.hex}.layer`, `torrents/${blob.digest.hex}.torrent`];
  await bucket.delete(data);
  await bucket.delete(torrent);
  const puts = bucket.puts;
  await using second = await openStore(bucket, join(dir.path, "2"), { isStoredByOther: async () => true });
  using handle = await second.acquire(blob.digest, filling(blob, { isPublic: true }));
  await handle.blob.done;
  assert.equal(bucket.puts, puts);
  assert.deepEqual(await readdir(join(dir.path, "2", "data")), [`${blob.digest.hex}.layer`]);
});
