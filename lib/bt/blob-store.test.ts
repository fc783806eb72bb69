/** @module Tests of a host's blobs: what is kept over a restart, who may see it. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "../log/log.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { FsStorage, StorageError } from "../storage/index.ts";
import { BlobStore, type Fill } from "./blob-store.ts";
import { BlobError } from "./errors.ts";
import { filling, tempDir, testBlob } from "./testing/blobs.ts";

const blob = testBlob(1_200_000);
const other = testBlob(900_000, { seed: 5 });

async function openStore(
  path: string,
  { limitSize = 10_000_000, sharesPrivate = false }: { limitSize?: number; sharesPrivate?: boolean } = {},
) {
  const events: string[] = [];
  const storage = await FsStorage.open({ rootDirectory: path });
  const metrics = createMetrics("proxy");
  const store = new BlobStore({
    storage,
    limitSize,
    minFree: () => 0,
    log: silentLogger,
    metrics,
    sharesPrivate,
    onOffer: (digest, metainfo) => events.push(`offer ${digest}${metainfo?.isPublic ? "" : " to parts"}`),
    onLeave: (digest) => events.push(`leave ${digest}`),
  });
  await store.start();
  return { store, storage, metrics, events, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

const never: Fill = () => assert.fail("must not be fetched");

test("what was committed is there after a restart, private or public as it was", async () => {
  await using dir = await tempDir();
  {
    await using host = await openStore(dir.path);
    for (const [one, isPublic] of [
      [blob, true],
      [other, false],
    ] as const) {
      using handle = await host.store.acquire(one.digest, filling(one, { isPublic }));
      assert.equal(handle.source, "fetched");
      await handle.blob.done;
    }
    assert.deepEqual(host.events, [`offer ${blob.digest}`]);
    assert.deepEqual([...host.store.offered()], [blob.digest.toString()]);
  }
  await writeFile(join(dir.path, "partial", "0".repeat(64)), "half");
  await using host = await openStore(dir.path);
  assert.deepEqual(await readdir(join(dir.path, "partial")), [], "what was half-done is swept");
  assert.deepEqual(host.events, [`offer ${blob.digest}`]);
  for (const [one, isPublic] of [
    [blob, true],
    [other, false],
  ] as const) {
    assert.equal(host.store.has(one.digest), "committed");
    using handle = await host.store.acquire(one.digest, never);
    assert.equal(handle.source, "cache");
    assert.equal(handle.blob.isPublic, isPublic);
    const bytes = new Uint8Array(one.layout.size);
    await handle.blob.read(bytes, 0);
    assert.deepEqual(bytes, one.bytes);
  }
});

test("one fill however many ask, and all get the blob", async () => {
  await using dir = await tempDir();
  await using host = await openStore(dir.path);
  let fills = 0;
  const handles = await Promise.all(
    Array.from({ length: 20 }, () =>
      host.store.acquire(blob.digest, (live, signal) => {
        fills++;
        filling(blob)(live, signal);
      }),
    ),
  );
  assert.equal(fills, 1);
  assert.equal(new Set(handles.map(({ blob: live }) => live)).size, 1);
  assert.equal(handles.filter(({ source }) => source === "fetched").length, 1);
  await handles[0]?.blob.done;
  for (const handle of handles) handle.release();
});

test("a private blob is offered once it is known to be public, and stays so", async () => {
  await using dir = await tempDir();
  {
    await using host = await openStore(dir.path);
    using handle = await host.store.acquire(blob.digest, filling(blob));
    await handle.blob.done;
    assert.deepEqual(host.events, []);
    await host.store.publish(handle.blob);
    await host.store.publish(handle.blob);
    assert.deepEqual(host.events, [`offer ${blob.digest}`]);
  }
  await using host = await openStore(dir.path);
  assert.deepEqual(host.events, [`offer ${blob.digest}`]);
});

test("published while it arrives, it is offered when it is committed", async () => {
  await using dir = await tempDir();
  {
    await using host = await openStore(dir.path);
    using handle = await host.store.acquire(blob.digest, filling(blob));
    await host.store.publish(handle.blob);
    assert.deepEqual(host.events, []);
    await handle.blob.done;
    assert.deepEqual(host.events, [`offer ${blob.digest}`]);
  }
  await using host = await openStore(dir.path);
  assert.deepEqual([...host.store.offered()], [blob.digest.toString()]);
});

test("a blob whose fill fails leaves nothing, and is fetched anew by the next", async () => {
  await using dir = await tempDir();
  await using host = await openStore(dir.path);
  {
    using handle = await host.store.acquire(blob.digest, (live) => {
      live.begin(blob.layout).then(() => live.fail(new BlobError("unavailable", "origin down")));
    });
    await assert.rejects(handle.blob.done, /origin down/);
  }
  assert.deepEqual(await readdir(join(dir.path, "partial")), []);
  assert.equal(host.store.has(blob.digest), undefined);
  using handle = await host.store.acquire(blob.digest, filling(blob));
  await handle.blob.done;
});

test("damaged or missing metainfo, or a file of another size: the blob is fetched anew", async () => {
  await using dir = await tempDir();
  const { hex } = blob.digest;
  const damages = [
    () => writeFile(join(dir.path, "torrents", `${hex}.torrent`), "rubbish"),
    () => writeFile(join(dir.path, "data", `${hex}.layer`), "short"),
  ];
  for (const damage of damages) {
    {
      await using host = await openStore(dir.path);
      using handle = await host.store.acquire(blob.digest, filling(blob, { isPublic: true }));
      await handle.blob.done;
    }
    await damage();
    await using host = await openStore(dir.path);
    using handle = await host.store.acquire(blob.digest, filling(blob, { isPublic: true }));
    assert.equal(handle.source, "fetched");
    await handle.blob.done;
  }
});

test("an evicted blob is withdrawn before its file goes", async () => {
  await using dir = await tempDir();
  await using host = await openStore(dir.path, { limitSize: 1_500_000 });
  for (const one of [blob, other]) {
    using handle = await host.store.acquire(one.digest, filling(one, { isPublic: true }));
    await handle.blob.done;
  }
  assert.deepEqual(host.events.toSorted(), [
    `leave ${blob.digest}`,
    ...[blob, other].map((one) => `offer ${one.digest}`).sort(),
  ]);
  assert.equal(host.store.has(blob.digest), undefined);
  for (let turn = 0; turn < 200 && existsSync(join(dir.path, "data", `${blob.digest.hex}.layer`)); turn++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.deepEqual(await readdir(join(dir.path, "data")), [`${other.digest.hex}.layer`]);
});

test("an eviction that the disk refuses leaves the blob in service", async () => {
  await using dir = await tempDir();
  await using host = await openStore(dir.path, { limitSize: 1_500_000 });
  const { storage } = host;
  const remove = storage.delete.bind(storage);
  storage.delete = async () => {
    throw new StorageError("io", "EROFS");
  };
  for (const one of [blob, other]) {
    using handle = await host.store.acquire(one.digest, filling(one, { isPublic: true }));
    await handle.blob.done;
  }
  const offer = `offer ${blob.digest}`;
  for (let turn = 0; turn < 200 && host.events.filter((event) => event === offer).length < 2; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.deepEqual(host.events.at(-1), offer, "offered again");
  using handle = await host.store.acquire(blob.digest, never);
  assert.equal(handle.source, "cache");
  assert.equal((await host.metrics.cacheBytes.get()).values[0]?.value, blob.layout.size + other.layout.size);
  storage.delete = remove;
});

test("peek() finds what is here or arriving, and begins nothing", async () => {
  await using dir = await tempDir();
  await using host = await openStore(dir.path);
  assert.equal(await host.store.peek(blob.digest), undefined);
  using handle = await host.store.acquire(blob.digest, filling(blob));
  using arriving = await host.store.peek(blob.digest);
  assert.equal(arriving?.blob, handle.blob);
  await handle.blob.done;
  using committed = await host.store.peek(blob.digest);
  assert.ok(committed?.blob.committed);
});

test("closing abandons what arrives", async () => {
  await using dir = await tempDir();
  const host = await openStore(dir.path);
  const handle = await host.store.acquire(blob.digest, (live) => live.begin(blob.layout).catch(() => {}));
  const rejected = assert.rejects(
    handle.blob.done,
    (error) => error instanceof BlobError && error.code === "abandoned",
  );
  await host[Symbol.asyncDispose]();
  await rejected;
  handle.release();
  await assert.rejects(host.store.acquire(blob.digest, never), BlobError);
});

test("private blobs are offered to parts where there are parts, and only as long", async () => {
  await using dir = await tempDir();
  {
    await using host = await openStore(dir.path, { sharesPrivate: true });
    using handle = await host.store.acquire(other.digest, filling(other));
    await handle.blob.done;
    assert.deepEqual(host.events, [`offer ${other.digest} to parts`]);
    assert.equal(await host.store.isPrivate(other.digest), true);
    assert.equal(await host.store.isPrivate(blob.digest), false, "not here at all");
  }
  {
    await using host = await openStore(dir.path);
    assert.deepEqual(host.events, []);
  }
  await using host = await openStore(dir.path, { sharesPrivate: true });
  assert.deepEqual(host.events, [`offer ${other.digest} to parts`]);
  using handle = await host.store.acquire(other.digest, never);
  assert.equal(handle.blob.isPublic, false);
  await host.store.publish(handle.blob);
  assert.deepEqual(host.events.slice(1), [`offer ${other.digest}`], "told again, since now it is anybody's");
  assert.equal(await host.store.isPrivate(other.digest), false);
});
