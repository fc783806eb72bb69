/** @module Tests of the file system backend: the suite, the layout on disk, drafts and full disks. */

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { FsStorage } from "./fs.ts";
import { storageBackends } from "./index.ts";
import { BlobNotFoundError, StorageError } from "./storage.ts";
import { storageSuite } from "./suite.ts";

const id = "ab".repeat(32);

async function temporary(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "eagle-storage-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

async function* bytes(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

storageSuite("fs", async () => {
  const root = await temporary();
  const storage = await storageBackends.fs({ rootDirectory: root.path });
  return {
    storage,
    async [Symbol.asyncDispose]() {
      await storage.close();
      await root[Symbol.asyncDispose]();
    },
  };
});

describe("FsStorage", () => {
  it("lays blobs and metainfo out under their ids", async () => {
    await using root = await temporary();
    await using storage = await FsStorage.open({ rootDirectory: join(root.path, "deep", "er") });
    await storage.upload(id, bytes("blob"));
    await storage.createWithMetaInfo(id, Buffer.from("de"));
    const deep = join(root.path, "deep", "er");
    assert.equal(await readFile(join(deep, "data", `${id}.layer`), "utf8"), "blob");
    assert.equal(await readFile(join(deep, "torrents", `${id}.torrent`), "utf8"), "de");
    assert.equal(storage.getFilePath(id), join(deep, "data", `${id}.layer`));
    assert.equal(storage.getTorrentFilePath(id), join(deep, "torrents", `${id}.torrent`));
    assert.equal(storage.getPartialPath(id), join(deep, "partial", id));
    assert.deepEqual(await readdir(storage.getDataDir()), [`${id}.layer`]);
    assert.deepEqual(await readdir(storage.getTorrentDir()), [`${id}.torrent`]);
    assert.deepEqual(await readdir(join(deep, "partial")), []);
  });

  it("keeps blobs and partial files over a restart, and sweeps drafts", async () => {
    await using root = await temporary();
    const before = await FsStorage.open({ rootDirectory: root.path });
    await before.upload(id, bytes("blob"));
    await writeFile(before.getPartialPath(id), "half");
    const draft = join(root.path, "partial", `${id}.0b1f.draft`);
    await writeFile(draft, "half");
    await writeFile(before.getPartialJournalPath(id), "notes");
    await writeFile(before.getPartialJournalPath("cd".repeat(32)), "notes of what is gone");
    await before.close();
    await using after = await FsStorage.open({ rootDirectory: root.path });
    assert.equal((await after.stat(id)).size, 4);
    assert.deepEqual((await readdir(join(root.path, "partial"))).sort(), [id, `${id}.pieces`]);
  });

  it("notes when a blob was used, and leaves alone when it was written", async () => {
    await using root = await temporary();
    await using storage = await FsStorage.open({ rootDirectory: root.path });
    await storage.upload(id, bytes("blob"));
    const before = await storage.stat(id);
    await storage.touch(id, 1_000_000_000_000);
    const after = await storage.stat(id);
    assert.equal(after.lastUsedMs, 1_000_000_000_000);
    assert.ok(Math.abs(after.modifiedMs - before.modifiedMs) < 1);
    await storage.touch("cd".repeat(32), 1_000_000_000_000);
  });

  it("lists metainfo whose blob is gone", async () => {
    await using root = await temporary();
    await using storage = await FsStorage.open({ rootDirectory: root.path });
    await storage.createWithMetaInfo(id, Buffer.from("de"));
    await writeFile(join(root.path, "torrents", "README"), "");
    const found: string[] = [];
    for await (const each of storage.listMetaInfo()) found.push(each);
    assert.deepEqual(found, [id]);
  });

  it("overlooks what is not a blob", async () => {
    await using root = await temporary();
    await using storage = await FsStorage.open({ rootDirectory: root.path });
    await writeFile(join(root.path, "data", "README"), "");
    await writeFile(join(root.path, "data", id), "");
    await mkdir(join(root.path, "data", `${"cd".repeat(32)}.layer`));
    await symlink("/etc/passwd", join(root.path, "data", `${"ef".repeat(32)}.layer`));
    for await (const entry of storage.list()) assert.fail(`listed ${entry.id}`);
  });

  it("takes over only regular files", async () => {
    await using root = await temporary();
    await using storage = await FsStorage.open({ rootDirectory: root.path });
    const link = join(root.path, "link");
    await symlink("/etc/passwd", link);
    await assert.rejects(
      storage.upload(id, { path: link }),
      (error) => error instanceof StorageError && error.code === "io",
    );
    await assert.rejects(storage.upload(id, { path: join(root.path, "data") }), StorageError);
    await assert.rejects(storage.stat(id), BlobNotFoundError);
  });

  it("says which directory cannot be used", async () => {
    await using root = await temporary();
    const file = join(root.path, "file");
    await writeFile(file, "");
    await assert.rejects(
      FsStorage.open({ rootDirectory: join(file, "root") }),
      (error) => error instanceof StorageError && error.code === "io" && error.message.includes(file) && !!error.cause,
    );
  });

  it("gives the lock back when opening fails", async () => {
    await using root = await temporary();
    await writeFile(join(root.path, "data"), "in the way");
    await assert.rejects(FsStorage.open({ rootDirectory: root.path }), StorageError);
    await rm(join(root.path, "data"));
    await using storage = await FsStorage.open({ rootDirectory: root.path });
    assert.ok(storage);
  });
});
