/** @module Tests of what a turn makes of a blob that is in the bucket already. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "../../log/log.ts";
import { RegistryError } from "../../registry/errors.ts";
import { openMemoryStorage } from "../../storage/memory.ts";
import { encodeMetainfo } from "../metainfo.ts";
import { tempDir, testBlob } from "../testing/blobs.ts";
import type { Claims } from "./claims.ts";
import { Turn } from "./turn.ts";

const blob = testBlob(1000);
const id = blob.digest.hex;

const claims: Claims = {
  claim: async () => ({ kind: "mine", release: async () => {} }),
  suspect() {},
  async [Symbol.asyncDispose]() {},
};

test("a blob that is stored as private is not taken from the bucket for those who may not be who it is for", async () => {
  const dir = await tempDir();
  const storage = await openMemoryStorage({
    rootDirectory: join(dir.path, "tier"),
    limitSize: 1_000_000,
    minFree: () => 0,
  });
  const turnOf = () =>
    new Turn({
      id,
      origin: {
        name: "origin",
        read: () => Promise.reject(new RegistryError("unauthorized", "not without credentials")),
      },
      storage,
      claims,
      clientOf: () => assert.fail("nobody else reads it"),
      log: silentLogger,
    });
  const live = new AbortController().signal;
  try {
    await storage.upload(id, new Blob([blob.bytes as Uint8Array<ArrayBuffer>]).stream());
    for (const isPublic of [undefined, false]) {
      await storage.createWithMetaInfo(
        id,
        encodeMetainfo({ ...blob.metainfo, ...(isPublic === undefined ? {} : { isPublic }) }),
      );
      const turn = turnOf();
      assert.equal((await turn.look()).kind, "mine");
      await assert.rejects(turn.origin.read({}, live), /not without credentials/);
      assert.equal(await turn.isStoredByOther({ patienceMs: 0 }), false);
      await turn.release();
    }
    await storage.createWithMetaInfo(id, encodeMetainfo({ ...blob.metainfo, isPublic: true }));
    const turn = turnOf();
    assert.equal((await turn.look()).kind, "stored");
    const { size, body } = await turn.origin.read({}, live);
    const parts: Uint8Array[] = [];
    for await (const part of body) parts.push(Uint8Array.from(part));
    assert.equal(size, blob.bytes.length);
    assert.ok(Buffer.concat(parts).equals(blob.bytes));
  } finally {
    await storage.close();
    await dir[Symbol.asyncDispose]();
  }
});
