/** @module Tests of a start over what an earlier process stored: it looks at names and metainfo, never at the blobs. */
import assert from "node:assert/strict";
import { truncate, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { silentLogger } from "../log/log.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { parseDigest } from "../registry/digest.ts";
import { FsStorage } from "../storage/index.ts";
import { BlobStore } from "./blob-store.ts";
import { Layout } from "./layout.ts";
import { encodeMetainfo } from "./metainfo.ts";
import { tempDir } from "./testing/blobs.ts";

test("a terabyte of blobs is there at once, unread", async () => {
  await using dir = await tempDir();
  const size = 50 * 2 ** 30;
  const ids = Array.from({ length: 20 }, (_, index) => index.toString(16).padStart(64, "0"));
  {
    await using storage = await FsStorage.open({ rootDirectory: dir.path });
    const layout = new Layout(size);
    for (const id of ids) {
      await writeFile(storage.getFilePath(id), "");
      await truncate(storage.getFilePath(id), size);
      await storage.createWithMetaInfo(
        id,
        encodeMetainfo({ id, layout, pieces: new Uint8Array(layout.count * 20), isPublic: true }),
      );
    }
  }
  const storage = await FsStorage.open({ rootDirectory: dir.path });
  storage.download = () => assert.fail("a blob is read");
  const store = new BlobStore({
    storage,
    limitSize: 2 * ids.length * size,
    minFree: () => 0,
    log: silentLogger,
    metrics: createMetrics("seeder"),
  });
  // Reading the holes of one of them would take longer than this test may.
  await store.start();
  assert.equal([...store.offered()].length, ids.length);
  for (const id of ids) assert.equal(store.has(parseDigest(`sha256:${id}`)), "committed");
  await store[Symbol.asyncDispose]();
});
