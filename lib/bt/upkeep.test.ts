/** @module Tests of what a host does for its stored blobs: damage is found, leftovers are swept, removals are heard. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, open, readdir, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "../log/log.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { FsStorage } from "../storage/index.ts";
import { availabilitySource } from "./availability-source.ts";
import { BlobStore, type BlobStoreInit } from "./blob-store.ts";
import { BlobError } from "./errors.ts";
import { Leftovers } from "./leftovers.ts";
import { decodeMetainfo, encodeMetainfo } from "./metainfo.ts";
import { RemovalRequests, requestRemoval } from "./removal-requests.ts";
import { Scrub } from "./scrub.ts";
import { filling, type TestBlob, tempDir, testBlob, turns, until } from "./testing/blobs.ts";
import { verifyBlob } from "./verify-blob.ts";

const blobs = [testBlob(1_200_000), testBlob(900_000, { seed: 5 }), testBlob(700_000, { seed: 6 })];
const [first, second, third] = blobs as [TestBlob, TestBlob, TestBlob];

async function openStore(path: string, init: Partial<BlobStoreInit> = {}) {
  const left: string[] = [];
  const warnings: string[] = [];
  const metrics = createMetrics("proxy");
  const store = new BlobStore({
    storage: await FsStorage.open({ rootDirectory: path }),
    limitSize: 10_000_000,
    minFree: () => 0,
    log: { ...silentLogger, warn: (message, fields) => void warnings.push(`${message} ${JSON.stringify(fields)}`) },
    metrics,
    onLeave: (digest) => left.push(digest),
    ...init,
  });
  await store.start();
  const page = async () => (await metrics.render()).body;
  return { store, left, warnings, page, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

async function commit(store: BlobStore, ...of: TestBlob[]): Promise<void> {
  for (const one of of) {
    using handle = await store.acquire(one.digest, filling(one, { isPublic: true }));
    await handle.blob.done;
  }
}

/** A blob that arrives for as long as the test says: meanwhile a scrub reads no more than it has begun. */
async function hold(store: BlobStore): Promise<() => Promise<void>> {
  const busy = testBlob(1000, { seed: 99 });
  const handle = await store.acquire(busy.digest, () => {});
  return async () => {
    await handle.blob.fail(new BlobError("unavailable", "the test goes on"));
    handle.release();
  };
}

const fileOf = (path: string, of: TestBlob) => join(path, "data", `${of.digest.hex}.layer`);
const torrentOf = (path: string, of: TestBlob) => join(path, "torrents", `${of.digest.hex}.torrent`);

/** Turns a bit over, as disks do: nothing else of the file changes. */
async function rot(path: string, position: number): Promise<void> {
  const file = await open(path, "r+");
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, position);
  byte[0]! ^= 0x10;
  await file.write(byte, 0, 1, position);
  await file.close();
}

test("a damaged blob is found, removed and told of; the others stay as they were", async () => {
  await using dir = await tempDir();
  {
    await using host = await openStore(dir.path);
    await commit(host.store, ...blobs);
  }
  await using host = await openStore(dir.path, { scrubRate: 1e9, scrubDelayMs: 0 });
  const release = await hold(host.store);
  const handle = await host.store.acquire(second.digest, () => assert.fail("is here"));
  const peer = availabilitySource(handle.blob, { onClose() {} });
  await peer.pull();
  const before = await stat(fileOf(dir.path, first));
  await rot(fileOf(dir.path, second), 600_000);
  await release();
  await until(() => host.store.has(second.digest) === undefined, "the find");
  assert.deepEqual(host.left, [second.digest.toString()]);
  assert.match(host.warnings.join("\n"), /a stored blob is damaged.*1 of 2 pieces, the first is 1/s);
  await assert.rejects(handle.blob.read(new Uint8Array(10), 0), { code: "storage", message: /other bytes than/ });
  assert.equal(await peer.pull(), undefined, "peers are not told to come back for it");
  handle.release();
  await until(() => !existsSync(fileOf(dir.path, second)));
  await commit(host.store, second);
  assert.match(await host.page(), /eagle_damaged_blobs_total\{.*\} 1/);
  assert.match(await host.page(), /eagle_evictions_total\{.*reason="removed".*\} 1/);
  assert.equal(host.store.has(first.digest), "committed");
  const after = await stat(fileOf(dir.path, first));
  assert.ok(Math.abs(after.mtimeMs - before.mtimeMs) < 0.01);
});

test("reading a blob to check it is no use of it", async () => {
  await using dir = await tempDir();
  {
    await using host = await openStore(dir.path);
    await commit(host.store, first);
  }
  const long = new Date(Date.now() - 40 * 24 * 3600 * 1000);
  await utimes(fileOf(dir.path, first), long, long);
  await using host = await openStore(dir.path, { scrubRate: 1e9, scrubDelayMs: 0 });
  const body = async () => /eagle_scrubbed_bytes_total\{.*\} 1200000/.test(await host.page());
  for (let done = false; !done; ) {
    done = await body();
    await turns();
  }
  for (let at = 0; Math.abs(at - long.getTime()) > 2000; ) at = (await stat(fileOf(dir.path, first))).atimeMs;
});

test("every kind of damage has its words", async () => {
  await using dir = await tempDir();
  const damages: [RegExp, () => Promise<unknown>][] = [
    [/too short/, () => truncate(fileOf(dir.path, first), 1000)],
    [/no file/, () => rm(fileOf(dir.path, first))],
    [/no metainfo/, () => rm(torrentOf(dir.path, first))],
    [/damaged metainfo/, () => writeFile(torrentOf(dir.path, first), "de")],
    [/another blob's metainfo/, () => writeFile(torrentOf(dir.path, first), encodeMetainfo(second.metainfo))],
    [
      /is right, but its metainfo is damaged \(1 of 3/,
      () => {
        const pieces = Uint8Array.from(first.metainfo.pieces);
        pieces[25]! ^= 1;
        return writeFile(torrentOf(dir.path, first), encodeMetainfo({ ...first.metainfo, pieces }));
      },
    ],
  ];
  for (const [words, damage] of damages) {
    {
      await using host = await openStore(dir.path);
      await commit(host.store, first);
    }
    await using host = await openStore(dir.path, { scrubRate: 1e9, scrubDelayMs: 0 });
    const release = await hold(host.store);
    await damage();
    await release();
    await until(() => host.store.has(first.digest) === undefined, String(words));
    assert.match(host.warnings.join("\n"), words);
  }
});

test("a scrub goes slowly, waits for blobs that arrive, begins anywhere, and ends when told", async () => {
  const seen: string[] = [];
  let busy = true;
  const scrub = new Scrub({
    rate: 1e9,
    ids: () => ["a", "b", "c"],
    async verify(id, turn) {
      await turn(10);
      seen.push(id);
    },
    isBusy: () => busy,
    log: silentLogger,
    delayMs: 0,
    random: () => 0.5,
  });
  scrub.start();
  await turns(20);
  assert.deepEqual(seen, []);
  busy = false;
  await until(() => seen.length === 3);
  assert.deepEqual(seen, ["b", "c", "a"]);
  await scrub.close();
  const off = new Scrub({
    rate: 0,
    ids: () => assert.fail(),
    verify: () => assert.fail(),
    isBusy: () => false,
    log: silentLogger,
  });
  off.start();
  await off.close();
});

test("verifyBlob reads each byte once, within its turns", async () => {
  let turned = 0;
  const problem = await verifyBlob({
    ...first,
    file: { read: async (target, position) => target.set(first.bytes.subarray(position, position + target.length)) },
    async turn(bytes) {
      turned += bytes;
    },
  });
  assert.equal(problem, undefined);
  assert.equal(turned, first.layout.size);
});

test("somebody asks for a removal: the host does it, and tells", async () => {
  await using dir = await tempDir();
  await using host = await openStore(dir.path);
  await commit(host.store, first, second);
  const signal = new AbortController().signal;
  const handle = await host.store.acquire(first.digest, () => assert.fail("is here"));
  const peer = availabilitySource(handle.blob, { onClose() {} });
  await peer.pull();
  assert.equal(await requestRemoval({ rootDirectory: dir.path, id: first.digest.hex }, signal), true);
  assert.deepEqual(host.left, [first.digest.toString()]);
  assert.equal(host.store.has(first.digest), undefined);
  assert.ok(handle.blob.removed);
  assert.equal(Buffer.from((await peer.pull())!).toString(), '{"remove":[0,1,2]}\n');
  assert.equal(await peer.pull(), undefined);
  await handle.blob.read(new Uint8Array(10), 0);
  handle.release();
  assert.deepEqual(await readdir(join(dir.path, "drop")), []);
  assert.equal(
    await requestRemoval({ rootDirectory: dir.path, id: first.digest.hex }, signal),
    true,
    "it is gone: done",
  );
});

test("a removal that nobody hears, or that the disk refuses", async () => {
  await using dir = await tempDir();
  const id = first.digest.hex;
  const unheard = { rootDirectory: dir.path, id, timeoutMs: 10 };
  assert.equal(await requestRemoval(unheard, new AbortController().signal), false);
  assert.deepEqual(await readdir(join(dir.path, "drop")), [], "it is taken back");
  const warnings: string[] = [];
  const removed: string[] = [];
  const requests = new RemovalRequests({
    rootDirectory: dir.path,
    async remove(each) {
      removed.push(each);
      if (each === id) throw new Error("read-only");
    },
    log: { info() {}, warn: (message) => void warnings.push(message) },
  });
  await writeFile(join(dir.path, "drop", id), "");
  await writeFile(join(dir.path, "drop", "README"), "");
  await mkdir(join(dir.path, "drop", "strange"));
  await requests.look();
  assert.deepEqual([removed, warnings.length], [[id], 1]);
  assert.deepEqual(await readdir(join(dir.path, "drop")), [id], "it stays to be tried again");
  await requests.close();
});

test("a start sweeps torrents without blobs and blobs without torrents", async () => {
  await using dir = await tempDir();
  {
    await using host = await openStore(dir.path);
    await commit(host.store, ...blobs);
  }
  await rm(fileOf(dir.path, first));
  await rm(torrentOf(dir.path, second));
  await using host = await openStore(dir.path);
  await until(() => !existsSync(fileOf(dir.path, second)));
  assert.deepEqual(await readdir(join(dir.path, "torrents")), [`${third.digest.hex}.torrent`]);
  assert.deepEqual([...host.store.offered()], [third.digest.toString()]);
  assert.equal(
    decodeMetainfo(await FsStorage.look({ rootDirectory: dir.path }).then((s) => s.readMetaInfo(third.digest.hex))).id,
    third.digest.hex,
  );
});

test("leftovers: order, age, limit", async () => {
  const deleted: string[] = [];
  let now = 1000;
  let refuses = true;
  const entries = [
    { id: "young", size: 50, diskBytes: 40, modifiedMs: 99_000 },
    { id: "old", size: 50, diskBytes: 30, modifiedMs: 90_000 },
    { id: "ancient", size: 50, diskBytes: 30, modifiedMs: 1 },
    { id: "foreign", size: 50, modifiedMs: 99_000 },
  ];
  const leftovers = new Leftovers({
    storage: {
      async *listPartial() {
        yield* entries;
      },
      async deletePartial(id) {
        deleted.push(id);
        if (id === "sticky" && refuses) throw new Error("EROFS");
      },
    },
    log: silentLogger,
    isResumable: async (id) => id !== "foreign",
    limit: 120,
    maxAgeMs: 20_000,
    now: () => now,
    wallNow: () => 100_000,
  });
  await leftovers.load();
  assert.deepEqual(deleted, ["foreign", "ancient"]);
  assert.equal(leftovers.bytes, 70);
  assert.equal(await leftovers.take("young"), 40);
  assert.equal(await leftovers.take("young"), 0);
  leftovers.add("young", 45);
  leftovers.add("sticky", 50);
  assert.deepEqual(deleted.slice(2), ["old"], "the limit");
  assert.equal(leftovers.evict(1), 45);
  assert.deepEqual(deleted.slice(3), ["young"]);
  now += 20_000;
  leftovers.sweep();
  await leftovers.removed();
  assert.deepEqual(
    [leftovers.bytes, leftovers.count, deleted.at(-1)],
    [50, 1, "sticky"],
    "it takes its room as before",
  );
  leftovers.evict(1);
  assert.equal(await leftovers.take("sticky"), 50, "a fetch finds what could not be removed");
  leftovers.add("sticky", 50);
  refuses = false;
  leftovers.evict(1);
  await leftovers.removed();
  assert.deepEqual([leftovers.bytes, leftovers.count], [0, 0]);
});
