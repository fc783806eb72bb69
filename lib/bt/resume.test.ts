/** @module Tests of blobs that go on where an earlier attempt stopped, in this process or after it was killed. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { cp, open, readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "../log/log.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { RegistryError } from "../registry/errors.ts";
import { FsStorage } from "../storage/index.ts";
import { BlobStore } from "./blob-store.ts";
import { BlobError } from "./errors.ts";
import { Layout } from "./layout.ts";
import { RateLimiter } from "./limiter.ts";
import { LiveBlob } from "./live-blob.ts";
import { fillFromOrigin, type Origin } from "./origin-fill.ts";
import { PieceJournal } from "./piece-journal.ts";
import { tempDir, testBlob, turns, until } from "./testing/blobs.ts";

const blob = testBlob(400_001, { pieceLength: 16 * 1024 });
const { count } = blob.layout;

function attempt(path: string, { commit = async () => {} }: { commit?: () => Promise<void> } = {}) {
  let revived = 0;
  const live = new LiveBlob({
    digest: blob.digest,
    place: { path: join(path, blob.digest.hex), journal: join(path, `${blob.digest.hex}.pieces`) },
    commit,
    onRevived: (bytes) => {
      revived += bytes;
    },
  });
  return { live, revived: () => revived };
}

/** Leaves an attempt with some pieces in a directory, as a process does that is killed: nothing is closed in time. */
async function killed(from: string, to: string, pieces: readonly number[]): Promise<void> {
  const { live } = attempt(from);
  await live.begin(blob.layout);
  live.addHashes(0, blob.metainfo.pieces);
  for (const piece of pieces) await live.store(piece, blob.piece(piece), "peer");
  const records = 32 + 24 * pieces.length;
  const journal = join(from, `${blob.digest.hex}.pieces`);
  await until(() => existsSync(journal));
  for (let size = 0; size < records; ) ({ size } = await stat(journal));
  await cp(from, to, { recursive: true });
  await live.fail(new BlobError("digest_mismatch", "the test has what it wants"));
  await live.close();
}

const some = [0, 1, 2, 7, 9, count - 1];

test("verified pieces of a killed attempt count again once the metainfo is there", async () => {
  await using dir = await tempDir();
  const [before, after] = [join(dir.path, "before"), join(dir.path, "after")];
  await FsStorage.open({ rootDirectory: before }).then((storage) => storage.close());
  await killed(join(before, "partial"), after, some);
  const { live, revived } = attempt(after);
  await live.begin(blob.layout);
  await turns();
  assert.equal(live.have?.count, 0, "not by the journal's word alone");
  assert.ok(live.isWriting(0) && !live.isWriting(3), "what is there need not be fetched");
  assert.deepEqual([...live.covered!], some);
  live.addHashes(0, blob.metainfo.pieces.subarray(0, 60));
  await until(() => live.have?.count === 3);
  assert.deepEqual(
    [...live.reviving].sort((a, b) => a - b),
    [7, 9, count - 1],
  );
  live.addHashes(0, blob.metainfo.pieces);
  await until(() => live.have?.count === some.length);
  assert.equal(live.sourceOf(0), "cache");
  assert.equal(revived(), live.received);
  for (let piece = 0; piece < count; piece++) await live.store(piece, blob.piece(piece), "peer");
  assert.equal(await live.done, blob.layout.size);
  assert.deepEqual(await readFile(join(after, blob.digest.hex)), Buffer.from(blob.bytes));
  assert.equal(existsSync(join(after, `${blob.digest.hex}.pieces`)), false);
  await live.close();
});

test("bytes that are not what was noted, and notes that are not what the metainfo says, are worth nothing", async () => {
  await using dir = await tempDir();
  const [before, after] = [join(dir.path, "before"), join(dir.path, "after")];
  await FsStorage.open({ rootDirectory: before }).then((storage) => storage.close());
  await killed(join(before, "partial"), after, some);
  const file = await open(join(after, blob.digest.hex), "r+");
  await file.write(Buffer.from([1 ^ blob.bytes[blob.layout.start(7) + 5]!]), 0, 1, blob.layout.start(7) + 5);
  await file.close();
  // The last piece is cut off; the note of another is altered; the last note is torn.
  await truncate(join(after, blob.digest.hex), blob.layout.size - 1);
  const journal = join(after, `${blob.digest.hex}.pieces`);
  const notes = await readFile(journal);
  notes[32 + 24 + 10]! ^= 1;
  await writeFile(journal, Buffer.concat([notes, notes.subarray(0, 11)]));
  const { live } = attempt(after);
  await live.begin(blob.layout);
  const changes: string[] = [];
  live.subscribe(({ type }) => changes.push(type));
  live.addHashes(0, blob.metainfo.pieces);
  await until(() => [...live.reviving].length === 0);
  assert.deepEqual([...live.have!], [0, 2, 9]);
  assert.equal(changes.filter((type) => type === "demand").length, 3, "the download hears what there is to fetch");
  for (let piece = 0; piece < count; piece++) await live.store(piece, blob.piece(piece), "peer");
  await live.done;
  assert.deepEqual(await readFile(join(after, blob.digest.hex)), Buffer.from(blob.bytes));
  await live.close();
});

test("without metainfo the noted pieces count once somebody vouches, and the digest of the whole decides", async () => {
  await using dir = await tempDir();
  const [before, after, poisoned] = ["before", "after", "poisoned"].map((name) => join(dir.path, name));
  await FsStorage.open({ rootDirectory: before! }).then((storage) => storage.close());
  await killed(join(before!, "partial"), after!, some);
  await cp(after!, poisoned!, { recursive: true });
  const { live } = attempt(after!);
  await live.begin(blob.layout);
  live.adopt();
  await until(() => live.have?.count === some.length);
  assert.equal(live.hashes?.known.count, some.length);
  await live.fail(new BlobError("unavailable", "nobody delivers"));
  assert.equal(live.leftover, live.received);
  await live.close();

  // Wrong bytes with a note that agrees with them: a list that lied.
  const wrong = Uint8Array.from(blob.piece(3));
  wrong[0]! ^= 1;
  const { live: liar } = attempt(poisoned!);
  await liar.begin(blob.layout);
  liar.addHashes(3, await sha1(wrong));
  await liar.store(3, wrong, "peer");
  await liar.fail(new BlobError("abandoned", "nobody waits"));
  await liar.close();
  const { live: fooled } = attempt(poisoned!, { commit: () => Promise.reject(new Error("must not be committed")) });
  await fooled.begin(blob.layout);
  fooled.adopt();
  await until(() => fooled.have?.has(3) === true);
  for (let piece = 0; piece < count; piece++) {
    if (!fooled.hashes?.get(piece)) fooled.addHashes(piece, blob.sha1(piece));
    await fooled.store(piece, blob.piece(piece), "origin");
  }
  await assert.rejects(fooled.done, { code: "digest_mismatch" });
  assert.deepEqual(await readdir(poisoned!), [], "nothing is left to be fooled by again");
});

async function sha1(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-1", Uint8Array.from(bytes)));
}

test("a journal of another shape, of another kind or of zeros is begun anew", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "j");
  const { journal } = await PieceJournal.open(path, blob.layout);
  assert.equal(existsSync(path), false, "nothing before the first piece");
  for (let piece = 0; piece < 5; piece++) journal.note(piece, blob.sha1(piece));
  await journal.close();
  journal.note(6, blob.sha1(6));
  const read = async (layout = blob.layout) => [...(await PieceJournal.open(path, layout)).claims.keys()];
  assert.deepEqual(await read(), [0, 1, 2, 3, 4]);
  const whole = await readFile(path);
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.alloc(200),
    Buffer.from("nonsense ".repeat(20)),
    whole.subarray(0, 40),
    Buffer.concat([whole.subarray(0, 32), Buffer.from([0xff, 0xff, 0xff, 0xff]), Buffer.alloc(20, 7)]),
    Buffer.concat([whole.subarray(0, 32), ...Array.from({ length: 4 * count + 1 }, () => whole.subarray(32, 56))]),
  ]) {
    await writeFile(path, bytes);
    assert.deepEqual(await read(), []);
    assert.equal(existsSync(path), false);
  }
  await writeFile(path, whole);
  assert.deepEqual(await read(new Layout(blob.layout.size + 1, blob.layout.pieceLength)), []);
  await writeFile(path, Buffer.concat([whole.subarray(0, 32 + 48), Buffer.alloc(240)]));
  assert.deepEqual(await read(), [0, 1], "zeros, as a power cut may leave them");
});

test("a journal keeps what is noted while it is being written, however much", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "j");
  const many = new Layout(1000 * blob.layout.pieceLength, blob.layout.pieceLength);
  const hash = (piece: number) => Uint8Array.from({ length: 20 }, (_, index) => (piece * 7 + index) % 255);
  const { journal } = await PieceJournal.open(path, many);
  for (let piece = 0; piece < many.count; piece++) {
    journal.note(piece, hash(piece));
    if (piece % 97 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await journal.close();
  const { claims } = await PieceJournal.open(path, many);
  assert.equal(claims.size, many.count);
  for (const [piece, sha1] of claims) assert.deepEqual(sha1, hash(piece));
});

/** An origin that notes what is asked of it. */
function originOf({ refuses = false, ranged = true }: { refuses?: boolean; ranged?: boolean } = {}) {
  const asked: [number, number][] = [];
  let closed = 0;
  const origin: Origin = {
    name: "origin",
    async read({ start = 0, end = blob.layout.size }) {
      asked.push([start, end]);
      if (refuses) throw new RegistryError("denied", "not you");
      const [from, to] = [start, ranged ? Math.min(end, blob.layout.size) : blob.layout.size];
      return {
        size: blob.layout.size,
        ranged,
        body: (async function* () {
          for (let at = from; at < to; at += 10_000) yield blob.bytes.slice(at, Math.min(to, at + 10_000));
        })(),
        close: () => closed++,
      };
    },
  };
  return { origin, asked, closed: () => closed };
}

test("an origin is read for what is missing alone, and asked for its word before anything counts", async () => {
  await using dir = await tempDir();
  const big = testBlob(20_000_000, { seed: 9 });
  const begin = async (path: string, { leftover = 0 } = {}) => {
    const live = new LiveBlob({
      digest: big.digest,
      leftover,
      place: { path: join(path, "b"), journal: join(path, "b.pieces") },
      commit: async () => {},
    });
    return live;
  };
  const first = await begin(dir.path);
  await first.begin(big.layout);
  first.addHashes(0, big.metainfo.pieces);
  const kept = Array.from({ length: 30 }, (_, piece) => piece);
  for (const piece of kept) await first.store(piece, big.piece(piece), "origin");
  await first.fail(new BlobError("unavailable", "the origin went away"));
  await first.close();

  const asked: [number, number][] = [];
  let word: (() => void) | undefined = () => {
    throw new RegistryError("denied", "not you");
  };
  let sent = 0;
  const origin: Origin = {
    name: "origin",
    async read({ start = 0, end = big.layout.size }) {
      asked.push([start, end]);
      word?.();
      return {
        size: big.layout.size,
        ranged: true,
        body: (async function* () {
          for (let at = start; at < Math.min(end, big.layout.size); at += 1_000_000) {
            const part = big.bytes.slice(at, Math.min(end, big.layout.size, at + 1_000_000));
            sent += part.length;
            yield part;
          }
        })(),
        close() {},
      };
    },
  };
  const fill = { origin, limiter: new RateLimiter(0), maxSize: 1e9, signal: new AbortController().signal };
  for (const knowsLayout of [false, true]) {
    const refused = await begin(dir.path);
    if (knowsLayout) await refused.begin(big.layout);
    await assert.rejects(fillFromOrigin(refused, fill), { code: "denied" });
    assert.equal(refused.have?.count ?? 0, 0, "who may not have it gets nothing that another brought in");
    await refused.fail(new BlobError("unavailable", "refused"));
    await refused.close();
  }
  word = undefined;
  asked.length = 0;
  const second = await begin(dir.path, { leftover: big.layout.end(29) });
  const isLeft = existsSync(join(dir.path, "b.pieces"));
  await fillFromOrigin(second, fill);
  await second.done;
  assert.ok(isLeft, "the refusal did not cost what was there");
  assert.equal(sent, big.layout.size - big.layout.end(29));
  assert.deepEqual(asked[0], [0, 1], "what it holds back may be on its way already");
  assert.ok(asked.slice(1).every(([start]) => start >= big.layout.start(30)));
  await second.close();
});

test("an origin without Range gives the whole once more, and the blob is whole", async () => {
  await using dir = await tempDir();
  await using other = await tempDir();
  await killed(dir.path, other.path, some);
  const { origin, asked } = originOf({ ranged: false });
  const { live } = attempt(other.path);
  // As a seeder that cuts it in its own way: another layout, another journal.
  const fill = { origin, limiter: new RateLimiter(0), maxSize: 1e9, signal: new AbortController().signal };
  await fillFromOrigin(live, fill);
  await live.done;
  assert.equal(asked.length, 1);
  assert.deepEqual(await readFile(join(other.path, blob.digest.hex)), Buffer.from(blob.bytes));
  await live.close();
});

const stored = testBlob(3_000_000, { seed: 4 });

async function storeAt(path: string, init: { limitSize?: number; minFree?: (total: number) => number } = {}) {
  const metrics = createMetrics("proxy");
  const store = new BlobStore({
    storage: await FsStorage.open({ rootDirectory: path }),
    limitSize: 10_000_000,
    minFree: () => 0,
    log: silentLogger,
    metrics,
    ...init,
  });
  await store.start();
  return { store, metrics };
}

test("a store goes on with what a killed process left, and fetches the rest alone", async () => {
  await using dir = await tempDir();
  const [before, after] = [join(dir.path, "before"), join(dir.path, "after")];
  const first = await storeAt(before);
  const begun = await first.store.acquire(stored.digest, (live) => {
    void (async () => {
      await live.begin(stored.layout);
      live.addHashes(0, stored.metainfo.pieces);
      for (const piece of [0, 3]) await live.store(piece, stored.piece(piece), "peer");
    })();
  });
  await begun.blob.waitFor(() => begun.blob.have?.count === 2);
  const journal = join(before, "partial", `${stored.digest.hex}.pieces`);
  for (let size = 0; size < 32 + 48; )
    size = await stat(journal)
      .then((found) => found.size)
      .catch(() => 0);
  await cp(before, after, { recursive: true, filter: (source) => !source.endsWith("/lock") });
  begun.release();
  await first.store[Symbol.asyncDispose]();
  assert.ok(existsSync(journal), "a clean end keeps them as well");

  const second = await storeAt(after);
  assert.match((await second.metrics.render()).body, /eagle_leftover_bytes\{.*\} [1-9]/);
  const fetched: number[] = [];
  {
    using handle = await second.store.acquire(stored.digest, (live) => {
      void (async () => {
        await live.begin(stored.layout);
        live.addHashes(0, stored.metainfo.pieces);
        for (let piece = 0; piece < stored.layout.count; piece++) {
          if (live.isWriting(piece) || live.have?.has(piece)) continue;
          fetched.push(piece);
          await live.store(piece, stored.piece(piece), "peer");
        }
      })();
    });
    await handle.blob.done;
    const bytes = new Uint8Array(stored.layout.size);
    await handle.blob.read(bytes, 0);
    assert.deepEqual(bytes, stored.bytes);
  }
  assert.deepEqual(fetched, [1, 2, 4, 5]);
  const { body } = await second.metrics.render();
  assert.match(body, /eagle_resumed_bytes_total\{.*\} 1048576/);
  assert.match(body, /eagle_leftover_bytes\{.*\} 0/);
  assert.deepEqual(await readdir(join(after, "partial")), []);
  await second.store[Symbol.asyncDispose]();
});

test("what is left half-done gives way to blobs, and goes when nobody comes back", async () => {
  await using dir = await tempDir();
  const { store } = await storeAt(dir.path, { limitSize: 3_200_000 });
  const half = async (of: typeof stored) => {
    const handle = await store.acquire(of.digest, (live) => {
      void (async () => {
        await live.begin(of.layout);
        live.addHashes(0, of.metainfo.pieces);
        await live.store(0, of.piece(0), "peer");
        await live.fail(new BlobError("unavailable", "nobody delivers"));
      })();
    });
    await handle.blob.done.catch(() => {});
    handle.release();
  };
  const others = [testBlob(700_000, { seed: 11 }), testBlob(700_000, { seed: 12 })];
  for (const of of others) await half(of);
  assert.equal((await readdir(join(dir.path, "partial"))).length, 4);
  {
    using handle = await store.acquire(stored.digest, (live) => {
      void (async () => {
        await live.begin(stored.layout);
        live.addHashes(0, stored.metainfo.pieces);
        for (let piece = 0; piece < stored.layout.count; piece++) await live.store(piece, stored.piece(piece), "peer");
      })();
    });
    await handle.blob.done;
  }
  const partial = join(dir.path, "partial");
  await until(() => !existsSync(join(partial, others[0]!.digest.hex)), "the removal");
  assert.equal(store.has(stored.digest), "committed");
  await store[Symbol.asyncDispose]();
});

test("a blob for which there is no room is refused before anything is written", async () => {
  await using dir = await tempDir();
  const { store } = await storeAt(dir.path, { minFree: (total) => total });
  assert.equal(await store.takes(stored.digest, 1), false, "the disk is below its watermark");
  await store[Symbol.asyncDispose]();
  const small = await storeAt(join(dir.path, "small"), { limitSize: 1_000_000 });
  assert.equal(await small.store.takes(stored.digest, stored.layout.size), false);
  using handle = await small.store.acquire(stored.digest, (live) => {
    live.begin(stored.layout).catch((error) => live.fail(error));
  });
  await assert.rejects(handle.blob.done, { code: "too_large", message: /no room/ });
  assert.deepEqual(await readdir(join(dir.path, "small", "partial")), []);
  await small.store[Symbol.asyncDispose]();
});
