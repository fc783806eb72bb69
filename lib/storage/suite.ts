/**
 * @module
 * What every storage backend must pass. Call {@link storageSuite} from the backend's own test file.
 */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { stat, writeFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { type BlobEntry, BlobNotFoundError, type Storage, StorageError, type StorageErrorCode } from "./storage.ts";

/** An empty storage for one case. `dispose` closes it and removes what it left. */
export interface StorageFixture extends AsyncDisposable {
  readonly storage: Storage;
}

const mebibyte = 1 << 20;

/**
 * Registers the cases with node:test.
 *
 * @param name of the backend
 * @param factory makes a fresh, empty storage for each case
 */
export function storageSuite(name: string, factory: () => Promise<StorageFixture>): void {
  /** Registers a case with its own storage. */
  const check = (title: string, run: (storage: Storage) => Promise<void>) =>
    it(title, async () => {
      await using fixture = await factory();
      await run(fixture.storage);
    });

  describe(`${name} storage`, () => {
    check("stores a stream and gives it back", async (storage) => {
      const { id, bytes } = blob(3 * mebibyte + 17);
      await storage.upload(id, chunks(bytes, 100_000));
      const { size, modifiedMs } = await storage.stat(id);
      assert.equal(size, bytes.length);
      assert.ok(Number.isFinite(modifiedMs) && modifiedMs > 0);
      assert.deepEqual(await read(storage, id), bytes);
    });

    check("takes Web streams", async (storage) => {
      const { id, bytes } = blob(70_000);
      await storage.upload(id, new Blob([bytes]).stream());
      assert.deepEqual(await read(storage, id), bytes);
    });

    check("keeps SHA-512 ids and empty blobs", async (storage) => {
      const id = createHash("sha512").update("").digest("hex");
      await storage.upload(id, chunks(new Uint8Array(), 1));
      assert.equal((await storage.stat(id)).size, 0);
      assert.equal((await read(storage, id)).length, 0);
      assert.equal((await read(storage, id, { start: 0, end: 0 })).length, 0);
    });

    check("takes over a finished partial file", async (storage) => {
      const { id, bytes } = blob(50_000);
      const path = storage.getPartialPath(id);
      await writeFile(path, bytes);
      assert.deepEqual(
        (await all(storage.listPartial())).map((entry) => [entry.id, entry.size]),
        [[id, bytes.length]],
      );
      await storage.upload(id, { path });
      assert.deepEqual(await read(storage, id), bytes);
      assert.deepEqual(await all(storage.listPartial()), []);
    });

    check("refuses a path without a file, and leaves nothing", async (storage) => {
      const { id } = blob(1);
      await assert.rejects(storage.upload(id, { path: storage.getPartialPath(id) }), hasCode("io"));
      await assertAbsent(storage, id);
    });

    check("removes partial files, there or not", async (storage) => {
      const { id } = blob(1);
      await writeFile(storage.getPartialPath(id), "half");
      await writeFile(storage.getPartialJournalPath(id), "notes");
      assert.deepEqual(
        (await all(storage.listPartial())).map((entry) => entry.id),
        [id],
      );
      await storage.deletePartial(id);
      await storage.deletePartial(id);
      await assert.rejects(stat(storage.getPartialJournalPath(id)), { code: "ENOENT" });
      assert.deepEqual(await all(storage.listPartial()), []);
    });

    check("reads ranges, and refuses those outside", async (storage) => {
      const { id, bytes } = blob(2 * mebibyte + 5);
      await storage.upload(id, chunks(bytes, mebibyte));
      for (const [start, end] of [
        [0, 1],
        [mebibyte - 1, mebibyte + 1],
        [5, bytes.length],
        [bytes.length, bytes.length],
      ] as const) {
        assert.deepEqual(await read(storage, id, { start, end }), bytes.subarray(start, end));
      }
      assert.deepEqual(await read(storage, id, { start: bytes.length - 3 }), bytes.subarray(-3));
      const outside = [
        { start: -1 },
        { start: 2, end: 1 },
        { end: bytes.length + 1 },
        { start: Number.NaN },
        { start: 0.5 },
      ];
      for (const range of outside) await assert.rejects(storage.download(id, range), hasCode("invalid_range"));
    });

    check("reads in chunks of at most 1 MiB and only on demand", async (storage) => {
      const { id, bytes } = blob(2 * mebibyte + 1);
      await storage.upload(id, chunks(bytes, mebibyte));
      const sizes: number[] = [];
      for await (const chunk of await storage.download(id)) sizes.push(chunk.length);
      assert.ok(Math.max(...sizes) <= mebibyte);
      assert.equal(
        sizes.reduce((a, b) => a + b),
        bytes.length,
      );
      await (await storage.download(id)).cancel();
    });

    check("reports what is missing", async (storage) => {
      const { id, bytes } = blob(9);
      await assertAbsent(storage, id);
      await assert.rejects(storage.delete(id), BlobNotFoundError);
      await assert.rejects(storage.readMetaInfo(id), BlobNotFoundError);
      await storage.upload(id, chunks(bytes, 9));
      await storage.delete(id);
      await assertAbsent(storage, id);
      await assert.rejects(storage.delete(id), BlobNotFoundError);
    });

    check("keeps metainfo beside the blob, replaces it, deletes it too", async (storage) => {
      const { id, bytes } = blob(9);
      await storage.createWithMetaInfo(id, Buffer.from("d4:infode"));
      await assertAbsent(storage, id);
      await storage.createWithMetaInfo(id, Buffer.from("de"));
      assert.equal(Buffer.from(await storage.readMetaInfo(id)).toString(), "de");
      await storage.upload(id, chunks(bytes, 9));
      await storage.delete(id);
      await assert.rejects(storage.readMetaInfo(id), BlobNotFoundError);
      await storage.createWithMetaInfo(id, Buffer.from("de"));
      await storage.delete(id);
      await assert.rejects(storage.readMetaInfo(id), BlobNotFoundError);
    });

    check("refuses hostile names everywhere", async (storage) => {
      const good = blob(1).id;
      const hostile = [
        "",
        ".",
        "..",
        "../../etc/passwd",
        `../${good.slice(3)}`,
        `${good}/`,
        `${good}\n`,
        `${good}\0`,
        ` ${good}`,
        good.toUpperCase(),
        good.slice(1),
        `${good}0`,
        `sha256:${good}`,
        `${good.slice(0, 60)}%2e.`,
        "a".repeat(100_000),
      ];
      for (const id of hostile) {
        await assert.rejects(storage.createWithMetaInfo(id, new Uint8Array(1)), hasCode("invalid_name"));
        await assert.rejects(storage.readMetaInfo(id), hasCode("invalid_name"));
        await assert.rejects(storage.stat(id), hasCode("invalid_name"));
        await assert.rejects(storage.upload(id, chunks(new Uint8Array(1), 1)), hasCode("invalid_name"));
        await assert.rejects(storage.download(id), hasCode("invalid_name"));
        await assert.rejects(storage.delete(id), hasCode("invalid_name"));
        await assert.rejects(storage.deletePartial(id), hasCode("invalid_name"));
        assert.throws(() => storage.getFilePath(id), hasCode("invalid_name"));
        assert.throws(() => storage.getTorrentFilePath(id), hasCode("invalid_name"));
        assert.throws(() => storage.getPartialPath(id), hasCode("invalid_name"));
      }
      for (const prefix of ["../", "A", "*", "a".repeat(129)]) {
        await assert.rejects(async () => all(storage.list(prefix)), hasCode("invalid_name"));
      }
      assert.deepEqual(await all(storage.list()), []);
    });

    check("lists by prefix", async (storage) => {
      const blobs = Array.from({ length: 20 }, () => blob(10));
      for (const { id, bytes } of blobs) await storage.upload(id, chunks(bytes, 10));
      await storage.createWithMetaInfo(blob(1).id, new Uint8Array(1));
      assert.deepEqual(ids(await all(storage.list())), blobs.map(({ id }) => id).sort());
      const first = blobs[0]!.id;
      for (const length of [1, 7, 64]) {
        const prefix = first.slice(0, length);
        const expected = blobs.map(({ id }) => id).filter((id) => id.startsWith(prefix));
        assert.deepEqual(ids(await all(storage.list(prefix))), expected.sort());
      }
    });

    check("measures the disk", async (storage) => {
      const { free, total } = await storage.freeSpace();
      assert.ok(free > 0 && total >= free);
    });

    check("an upload whose source fails half-way leaves nothing", async (storage) => {
      const { id, bytes } = blob(300_000);
      const broken = new Error("origin cut");
      async function* source() {
        yield bytes;
        throw broken;
      }
      await assert.rejects(storage.upload(id, source()), (error) => error === broken);
      await assertAbsent(storage, id);
      assert.deepEqual(await all(storage.listPartial()), []);
      await storage.upload(id, chunks(bytes, 1000));
      await assert.rejects(storage.upload(id, source()));
      assert.deepEqual(await read(storage, id), bytes);
    });

    check("an abort reaches an upload whose source is silent", async (storage) => {
      const { id, bytes } = blob(1000);
      for (const kind of ["generator", "web"] as const) {
        const controller = new AbortController();
        const { promise: silent, resolve: fellSilent } = Promise.withResolvers<void>();
        const { promise: stopped, resolve: stop } = Promise.withResolvers<void>();
        async function* generator() {
          yield bytes;
          fellSilent();
          await new Promise(() => {});
        }
        const web = new ReadableStream<Uint8Array>(
          {
            start: (stream) => stream.enqueue(bytes),
            pull: () => fellSilent(),
            cancel: () => stop(),
          },
          { highWaterMark: 0 },
        );
        const source = kind === "web" ? web : generator();
        const upload = storage.upload(id, source, { signal: controller.signal });
        await silent;
        controller.abort(new Error("left"));
        await assert.rejects(upload, /left/);
        if (kind === "web") await stopped;
        await assertAbsent(storage, id);
      }
      await assert.rejects(storage.upload(id, chunks(bytes, 1), { signal: AbortSignal.abort() }));
      await assertAbsent(storage, id);
    });

    check("concurrent uploads of one id do not mix", async (storage) => {
      const { id } = blob(1);
      // Equal sizes and one byte value each: any mixture would show.
      const uploads = Array.from({ length: 8 }, (_, index) => chunks(new Uint8Array(200_000).fill(index), 7_001));
      const watching = { on: true };
      const watcher = (async () => {
        while (watching.on) {
          const seen = await read(storage, id).catch((error) => {
            assert.ok(error instanceof BlobNotFoundError);
            return undefined;
          });
          if (seen) assertUniform(seen, 200_000);
          await turn();
        }
      })();
      await Promise.all(uploads.map((source) => storage.upload(id, source)));
      watching.on = false;
      await watcher;
      assertUniform(await read(storage, id), 200_000);
      assert.deepEqual(ids(await all(storage.list())), [id]);
      assert.deepEqual(await all(storage.listPartial()), []);
    });

    check("a download goes on when its blob is deleted or replaced", async (storage) => {
      const { id, bytes } = blob(4 * mebibyte);
      await storage.upload(id, chunks(bytes, mebibyte));
      const begun = (await storage.download(id)).getReader();
      const first = await begun.read();
      const second = await storage.download(id);
      await storage.delete(id);
      await storage.upload(id, chunks(new Uint8Array(10), 10));
      assert.deepEqual(await collect(second), bytes);
      const rest = [first.value!];
      for (let next = await begun.read(); !next.done; next = await begun.read()) rest.push(next.value);
      assert.deepEqual(concat(rest), bytes);
      assert.equal((await read(storage, id)).length, 10);
    });

    check("of concurrent deletes one wins", async (storage) => {
      const { id, bytes } = blob(100);
      await storage.upload(id, chunks(bytes, 100));
      const results = await Promise.allSettled(Array.from({ length: 6 }, () => storage.delete(id)));
      assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1);
      for (const result of results) {
        if (result.status === "rejected") assert.ok(result.reason instanceof BlobNotFoundError);
      }
    });

    check("a listing during changes has every blob that stayed, once", async (storage) => {
      const stay = Array.from({ length: 60 }, () => blob(1));
      const go = Array.from({ length: 60 }, () => blob(1));
      for (const { id, bytes } of [...stay, ...go]) await storage.upload(id, chunks(bytes, 1));
      const changes = (async () => {
        for (const { id } of go) {
          await storage.delete(id);
          const { id: fresh, bytes } = blob(1);
          await storage.upload(fresh, chunks(bytes, 1));
        }
      })();
      for (let round = 0; round < 4; round++) {
        const listed = ids(await all(storage.list()));
        assert.equal(new Set(listed).size, listed.length);
        for (const { id } of stay) assert.ok(listed.includes(id));
      }
      await changes;
      assert.equal((await all(storage.list())).length, 120);
    });

    check("everything at once on a few ids ends in order", async (storage) => {
      const blobs = Array.from({ length: 3 }, () => blob(40_000));
      const tolerant = (error: unknown) => assert.ok(error instanceof BlobNotFoundError, String(error));
      const work = Array.from({ length: 90 }, async (_, index) => {
        const { id, bytes } = blobs[index % 3]!;
        switch (index % 6) {
          case 0:
            return storage.upload(id, chunks(bytes, 9_000));
          case 1:
            return storage.createWithMetaInfo(id, bytes);
          case 2:
            return storage.delete(id).catch(tolerant);
          case 3:
            return read(storage, id).then((seen) => assert.deepEqual(seen, bytes), tolerant);
          case 4:
            return storage.readMetaInfo(id).then((seen) => assert.deepEqual(concat([seen]), bytes), tolerant);
          default:
            return storage.stat(id).then(({ size }) => assert.equal(size, bytes.length), tolerant);
        }
      });
      await Promise.all(work);
      for (const { id } of blobs) await storage.delete(id).catch(tolerant);
      assert.deepEqual(await all(storage.list()), []);
      assert.deepEqual(await all(storage.listPartial()), []);
    });
  });
}

function blob(size: number): { id: string; bytes: Uint8Array<ArrayBuffer> } {
  const bytes = new Uint8Array(randomBytes(size));
  // Small blobs would collide by content.
  const id = createHash("sha256").update(bytes).update(randomBytes(16)).digest("hex");
  return { id, bytes };
}

async function* chunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += size) {
    await turn();
    yield bytes.subarray(offset, offset + size);
  }
}

async function read(storage: Storage, id: string, range?: { start?: number; end?: number }): Promise<Uint8Array> {
  return collect(await storage.download(id, range));
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return concat(await all(stream));
}

/** A plain Uint8Array, so that deepEqual compares bytes and not classes. */
function concat(parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}

function ids(entries: BlobEntry[]): string[] {
  return entries.map(({ id }) => id).sort();
}

function assertUniform(bytes: Uint8Array, size: number): void {
  assert.equal(bytes.length, size);
  assert.ok(
    bytes.every((byte) => byte === bytes[0]),
    "bytes of several uploads are mixed",
  );
}

async function assertAbsent(storage: Storage, id: string): Promise<void> {
  await assert.rejects(storage.stat(id), BlobNotFoundError);
  await assert.rejects(storage.download(id), BlobNotFoundError);
  assert.ok(!ids(await all(storage.list())).includes(id));
}

function hasCode(code: StorageErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof StorageError && error.code === code;
}

/** Lets other work run. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
