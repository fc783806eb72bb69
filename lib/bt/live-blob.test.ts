/** @module Tests of a blob while it arrives. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { openBlobFile } from "./blob-file.ts";
import { BlobError } from "./errors.ts";
import { Layout } from "./layout.ts";
import { type BlobChange, LiveBlob } from "./live-blob.ts";
import { arriving, prng, shuffled, tempDir, testBlob } from "./testing/blobs.ts";

const blob = testBlob(400_001, { pieceLength: 16 * 1024 });

function isCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof BlobError && error.code === code;
}

test("a blob is committed whatever order its pieces come in, several at a time", async () => {
  await using dir = await tempDir();
  for (let seed = 0; seed < 6; seed++) {
    const random = prng(seed);
    let committed = 0;
    const live = await arriving(blob, dir.path, {
      async commit(done) {
        assert.ok(done.verified && !done.committed);
        assert.deepEqual(await readFile(join(dir.path, done.id)), Buffer.from(blob.bytes));
        committed++;
      },
    });
    const changes: BlobChange["type"][] = [];
    live.subscribe((change) => changes.push(change.type));
    const stores: Promise<boolean>[] = [];
    for (const piece of shuffled(blob.layout.count, random)) {
      stores.push(live.store(piece, blob.piece(piece), "peer"));
      if (random() < 0.3) stores.push(live.store(piece, blob.piece(piece), "seeder"));
      if (random() < 0.2) await Promise.all(stores);
    }
    const fresh = (await Promise.all(stores)).filter(Boolean).length;
    assert.equal(fresh, blob.layout.count, "a copy of a piece is not new");
    assert.equal(await live.done, blob.layout.size);
    assert.equal(committed, 1);
    assert.ok(live.committed && live.received === blob.layout.size);
    assert.deepEqual(changes.slice(-2), ["verified", "committed"]);
    assert.equal(changes.filter((type) => type === "piece").length, blob.layout.count);
    assert.ok(live.metainfo());
    await live.close();
    await live.close();
  }
});

test("a wrong digest fails the blob and removes the file", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path, { commit: () => Promise.reject(new Error("must not commit")) });
  const bad = Uint8Array.from(blob.piece(3));
  bad[5]! ^= 1;
  const seen: string[] = [];
  live.subscribe((change) => seen.push(change.type));
  const waiting = assert.rejects(
    live.waitFor(() => live.verified),
    isCode("digest_mismatch"),
  );
  for (let piece = 0; piece < blob.layout.count; piece++)
    await live.store(piece, piece === 3 ? bad : blob.piece(piece), "peer");
  await assert.rejects(live.done, isCode("digest_mismatch"));
  await waiting;
  assert.equal(existsSync(join(dir.path, live.id)), false);
  assert.ok(!seen.includes("verified"));
  assert.equal(live.verified, false);
  await assert.rejects(live.read(new Uint8Array(1), 0), isCode("digest_mismatch"));
  await assert.rejects(live.store(0, blob.piece(0), "peer"), isCode("digest_mismatch"));
  await assert.rejects(live.begin(blob.layout), isCode("digest_mismatch"));
});

test("a commit that fails fails the blob", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path, { commit: () => Promise.reject(new Error("disk full")) });
  for (let piece = 0; piece < blob.layout.count; piece++) await live.store(piece, blob.piece(piece), "peer");
  await assert.rejects(live.done, isCode("storage"));
  assert.equal(existsSync(join(dir.path, live.id)), false);
  const part = new Uint8Array(10);
  await live.readDelivered(part, 0);
  assert.deepEqual(part, blob.bytes.slice(0, 10), "a reader that goes on elsewhere can still hash what it passed on");
  await live.close();
});

test("a blob that is being committed is not failed nor abandoned", async () => {
  await using dir = await tempDir();
  const storing = Promise.withResolvers<void>();
  let abandoned = 0;
  const live = new LiveBlob({
    digest: blob.digest,
    place: { path: join(dir.path, "x") },
    commit: () => storing.promise,
    onAbandon: () => {
      abandoned++;
    },
  });
  await live.begin(blob.layout);
  live.addHashes(0, blob.metainfo.pieces);
  for (let piece = 0; piece < blob.layout.count; piece++) await live.store(piece, blob.piece(piece), "peer");
  await live.waitFor(() => live.verified);
  live.abandon();
  await live.fail(new BlobError("digest_mismatch", "a seeder changed its mind"));
  assert.equal(live.error, undefined);
  assert.equal(abandoned, 0);
  assert.ok(existsSync(join(dir.path, "x")));
  storing.resolve();
  assert.equal(await live.done, blob.layout.size);
  await live.close();
});

test("the layout shows once there is a file, and must be the same from all who tell it", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path, { begun: false });
  const first = live.begin(blob.layout);
  assert.equal(live.layout, undefined);
  await assert.rejects(live.begin(new Layout(5)), isCode("other_list"));
  await Promise.all([first, live.begin(blob.layout)]);
  assert.ok(live.layout);
  await assert.rejects(live.begin(new Layout(blob.layout.size, 32 * 1024)), isCode("other_list"));
  await live.begin(blob.layout);
  assert.equal(live.error, undefined, "a wrong word alone does not fail what arrives");
  await live.close();
});

test("failing while the file is made leaves neither file nor handle", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path, { begun: false });
  const beginning = assert.rejects(live.begin(blob.layout), isCode("unavailable"));
  const failing = live.fail(new BlobError("unavailable", "too late"));
  await beginning;
  await failing;
  await assert.rejects(live.done, isCode("unavailable"));
  assert.equal(existsSync(join(dir.path, live.id)), false);
  await live.close();
});

test("a directory that is gone fails the blob with storage", async () => {
  await using dir = await tempDir();
  const sub = join(dir.path, "sub");
  await mkdir(sub);
  await rm(sub, { recursive: true });
  const live = await arriving(blob, sub, { begun: false });
  await assert.rejects(live.begin(blob.layout), isCode("storage"));
  await assert.rejects(live.done, isCode("storage"));
});

test("hashes that contradict, do not fit or come too early are refused", async () => {
  await using dir = await tempDir();
  const early = await arriving(blob, dir.path, { begun: false });
  assert.throws(() => early.addHashes(0, blob.sha1(0)), isCode("other_list"));
  const live = await arriving(blob, dir.path, { hashes: false });
  live.addHashes(1, blob.metainfo.pieces.subarray(20, 60));
  live.addHashes(2, blob.sha1(2));
  live.addHashes(1, blob.sha1(2));
  live.addHashes(1, blob.sha1(1));
  assert.deepEqual(live.hashes!.get(1), blob.sha1(1), "a later word stands, while the piece is not here");
  await live.store(1, blob.piece(1), "seeder");
  assert.throws(() => live.addHashes(1, blob.sha1(2)), isCode("digest_mismatch"));
  assert.throws(() => live.addHashes(0, new Uint8Array(21)), isCode("other_list"));
  assert.throws(() => live.addHashes(-1, blob.sha1(0)), isCode("other_list"));
  assert.throws(() => live.addHashes(blob.layout.count, blob.sha1(0)), isCode("other_list"));
  assert.throws(() => live.addHashes(1, blob.metainfo.pieces), isCode("other_list"));
  assert.equal(live.metainfo(), undefined);
  await live.close();
});

test("a piece of another length is refused", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  await assert.rejects(live.store(0, blob.piece(0).subarray(1), "peer"), RangeError);
  await assert.rejects(live.store(blob.layout.count - 1, blob.piece(0), "peer"), RangeError);
  assert.equal(live.have?.count, 0);
  await live.close();
});

test("waitFor ends with the condition, the blob's error, or the signal", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  await live.waitFor(() => true);
  const abort = new AbortController();
  const left = assert.rejects(
    live.waitFor(() => false, abort.signal),
    /left/,
  );
  const failed = assert.rejects(
    live.waitFor(() => false),
    isCode("not_found"),
  );
  const met = live.waitFor(() => live.have!.has(2));
  abort.abort(new Error("left"));
  await left;
  await assert.rejects(
    live.waitFor(() => false, abort.signal),
    /left/,
  );
  await live.store(2, blob.piece(2), "peer");
  await met;
  await live.fail(new BlobError("not_found", "no"));
  await failed;
  await assert.rejects(
    live.waitFor(() => false),
    isCode("not_found"),
  );
  await live.fail(new BlobError("storage", "second"));
  assert.equal(live.error?.code, "not_found", "the first error stays");
  await live.close();
});

test("who begins or ceases to listen while something is told hears of the next thing, or not", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  const heard: string[] = [];
  const end = live.subscribe(() => {
    heard.push("first");
    end();
    endSecond();
    live.subscribe(() => heard.push("late"));
  });
  const endSecond = live.subscribe(() => heard.push("second"));
  live.hurry();
  assert.deepEqual(heard, ["first", "second"], "those who listened when it happened");
  live.hurry();
  assert.deepEqual(heard, ["first", "second", "late"]);
  end();
  live.hurry();
  assert.equal(heard.length, 4);
  await live.close();
});

test("abandon() ends it once and tells the fetch", async () => {
  await using dir = await tempDir();
  let told = 0;
  const live = new LiveBlob({
    digest: blob.digest,
    place: { path: join(dir.path, "y") },
    commit: async () => {},
    onAbandon: () => void told++,
  });
  live.abandon();
  live.abandon();
  assert.equal(told, 1);
  await assert.rejects(live.done, isCode("abandoned"));
});

test("a committed blob reads from its file", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "z");
  const written = await openBlobFile(path, "w+");
  await written.write(blob.bytes, 0);
  await written.close();
  const live = LiveBlob.committed({
    digest: blob.digest,
    metainfo: { ...blob.metainfo, isPublic: true },
    file: await openBlobFile(path, "r"),
  });
  assert.equal(await live.done, blob.layout.size);
  assert.ok(live.committed && live.isPublic && live.have?.full);
  assert.equal(live.sourceOf(0), "cache");
  const target = new Uint8Array(1000);
  await live.read(target, 399_001);
  assert.deepEqual(target, blob.bytes.slice(399_001));
  await assert.rejects(live.read(target, 399_002), isCode("storage"), "a file that ends early is an error");
  await live.close();
});
