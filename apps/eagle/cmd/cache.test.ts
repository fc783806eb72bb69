/**
 * @module `eagle cache` on the directory of a host that runs, and of one that does not.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { open, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { BlobStore } from "../../../lib/bt/blob-store.ts";
import { type TestBlob, testBlob } from "../../../lib/bt/testing/blobs.ts";
import { silentLogger } from "../../../lib/log/log.ts";
import { createMetrics } from "../../../lib/metrics/metrics.ts";
import { FsStorage, type Storage, storageBackends } from "../../../lib/storage/index.ts";
import { eagle } from "../testing/run-eagle.ts";
import { tempDirectory } from "../testing/temp-directory.ts";

const blobs = [testBlob(1_200_000), testBlob(900_000, { seed: 5 }), testBlob(700_000, { seed: 6 })];
const [first, second, third] = blobs as [TestBlob, TestBlob, TestBlob];

/** A host's directory with all blobs, the first of them public; as long as it is not disposed of, the host works on it. */
async function hostAt(rootDirectory: string, storage?: Storage): Promise<BlobStore> {
  const store = new BlobStore({
    storage: storage ?? (await FsStorage.open({ rootDirectory })),
    limitSize: 10_000_000,
    minFree: () => 0,
    log: silentLogger,
    metrics: createMetrics("proxy"),
  });
  await store.start();
  for (const of of blobs) {
    using handle = await store.acquire(of.digest, (live) => {
      live.isPublic = of === first;
      void (async () => {
        await live.begin(of.layout);
        live.addHashes(0, of.metainfo.pieces);
        for (let piece = 0; piece < of.layout.count; piece++) await live.store(piece, of.piece(piece), "origin");
      })();
    });
    await handle.blob.done;
  }
  return store;
}

const fileOf = (root: string, of: TestBlob) => join(root, "data", `${of.digest.hex}.layer`);
const lines = (text: string) =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

test("shows, verifies and removes beside a host that runs, which removes by itself", async () => {
  await using dir = await tempDirectory();
  const root = join(dir.path, "root");
  const store = await hostAt(root);
  const config = join(dir.path, "proxy.yaml");
  await writeFile(config, `clientCfg: { rootDirectory: ${root}, limitSize: 10M }\n`);
  const old = new Date("2026-01-02T03:04:05Z");
  await utimes(fileOf(root, second), old, old);

  const listed = await eagle(["cache", "ls", "--config", config]);
  assert.equal(listed.code, 0, listed.stderr);
  assert.match(listed.stdout, /^DIGEST +SIZE +LAST USED \(UTC\) +ACCESS\n/);
  assert.match(listed.stdout, new RegExp(`^${first.digest} +1.14 MiB  20..-..-.. ..:..  +public$`, "m"));
  assert.match(listed.stdout, new RegExp(`^${second.digest} +879 KiB  2026-01-02 03:04  +private$`, "m"));
  assert.ok(listed.stdout.trim().endsWith("private"), "the longest unused is the last");
  const one = await eagle(["cache", "ls", second.digest.hex.slice(0, 12), "--root", root, "--json"]);
  assert.deepEqual(lines(one.stdout), [
    {
      digest: second.digest.toString(),
      size: 900_000,
      stored: old.toISOString(),
      used: old.toISOString(),
      public: false,
    },
  ]);

  const stats = await eagle(["cache", "stats", "--config", config, "--json"]);
  const facts = JSON.parse(stats.stdout);
  assert.deepEqual(
    [facts.rootDirectory, facts.process, facts.blobs, facts.bytes, facts.limitSize, facts.partial],
    [root, process.pid, 3, 2_800_000, 10 * 1024 ** 2, 0],
  );
  const words = await eagle(["cache", "stats", "--config", config]);
  assert.match(words.stdout, /^size +2.67 MiB of 10.0 MiB \(27 %\)$/m);

  const verified = await eagle(["cache", "verify", "--root", root, "--quiet"]);
  assert.deepEqual([verified.code, verified.stdout], [0, "3 blobs (2.67 MiB): 0 damaged\n"]);
  assert.equal((await stat(fileOf(root, second))).atimeMs, old.getTime(), "that was no use of it");

  const removed = await eagle(["cache", "rm", "--root", root, second.digest.toString()]);
  assert.deepEqual([removed.code, removed.stdout], [0, `removed ${second.digest}\n`], removed.stderr);
  assert.equal(store.has(second.digest), undefined, "the host knows");
  assert.equal(existsSync(fileOf(root, second)), false);
  await store[Symbol.asyncDispose]();
});

test("finds damage, removes it, and works where nobody runs", async () => {
  await using dir = await tempDirectory();
  await (await hostAt(dir.path))[Symbol.asyncDispose]();
  const file = await open(fileOf(dir.path, second), "r+");
  await file.write(Buffer.from([1 ^ second.bytes[600_000]!]), 0, 1, 600_000);
  await file.close();
  await rm(join(dir.path, "torrents", `${third.digest.hex}.torrent`));
  const found = await eagle(["cache", "verify", "--root", dir.path, "--json", "--quiet"]);
  assert.equal(found.code, 1);
  const told = Map.groupBy(lines(found.stdout), ({ digest }) => digest);
  assert.deepEqual(told.get(first.digest.toString())?.[0], { digest: first.digest.toString(), ok: true });
  assert.match(told.get(second.digest.toString())?.[0].damage, /1 of 2 pieces, the first is 1/);
  assert.match(told.get(third.digest.toString())?.[0].damage, /no metainfo/);
  assert.equal((await readdir(join(dir.path, "data"))).length, 3, "verify alone removes nothing");
  const cleaned = await eagle(["cache", "verify", "--root", dir.path, "--rm", "--quiet"]);
  assert.equal(cleaned.code, 1);
  assert.match(cleaned.stdout, /3 blobs \(2.67 MiB\): 2 damaged\nremoved /);
  assert.deepEqual(await readdir(join(dir.path, "data")), [`${first.digest.hex}.layer`]);
  const rest = await eagle(["cache", "rm", "--all", "--root", dir.path, "--json"]);
  assert.deepEqual(lines(rest.stdout), [{ digest: first.digest.toString(), removed: true }]);
  assert.equal((await eagle(["cache", "ls", "--root", dir.path])).stdout, "no blobs\n");
  assert.deepEqual(await readdir(join(dir.path, "torrents")), []);
});

test("of a seeder that stores elsewhere: its copies, and no more", async () => {
  await using dir = await tempDirectory();
  const root = join(dir.path, "root");
  const storage = await storageBackends.memory({ rootDirectory: root });
  const store = await hostAt(root, storage);
  const config = join(dir.path, "seeder.yaml");
  await writeFile(
    config,
    `seederCfg: { rootDirectory: ${root}, limitSize: 10M, storageBackend: s3, s3: { bucket: layers } }\n`,
  );
  const told = await eagle(["cache", "stats", "--config", config]);
  assert.match(told.stdout, /^blobs +3, copies of what is in bucket layers$/m, told.stderr);
  const facts = JSON.parse((await eagle(["cache", "stats", "--root", root, "--json"])).stdout);
  assert.deepEqual([facts.copiesOf, facts.bytes, facts.ofPieces], ["another storage", 2_800_000, 0]);
  const listed = await eagle(["cache", "ls", "--root", root, "--json"]);
  assert.deepEqual(new Set(lines(listed.stdout).map(({ public: isPublic }) => isPublic)), new Set([null]));
  const file = await open(fileOf(root, third), "r+");
  await file.write(Buffer.from([1 ^ third.bytes[5]!]), 0, 1, 5);
  await file.close();
  const verified = await eagle(["cache", "verify", "--root", root, "--quiet", "--rm"]);
  assert.equal(verified.code, 1);
  assert.match(verified.stdout, new RegExp(`3 blobs .*: 1 damaged\nremoved the copy of ${third.digest}`));
  const removed = await eagle(["cache", "rm", "--config", config, second.digest.toString()]);
  assert.deepEqual([removed.code, removed.stdout], [0, `removed the copy of ${second.digest}\n`], removed.stderr);
  assert.deepEqual(await readdir(join(root, "data")), [`${first.digest.hex}.layer`]);
  for (const of of blobs) assert.equal(store.has(of.digest), "committed", "what is stored stays");
  await store[Symbol.asyncDispose]();
});

test("what cannot be done is said in words", async () => {
  await using dir = await tempDirectory();
  await (await hostAt(dir.path))[Symbol.asyncDispose]();
  const root = ["--root", dir.path];
  for (const [args, code, words] of [
    [[], 2, /an argument is missing/],
    [["ls"], 2, /say which cache: --root DIR or --config FILE/],
    [["lss", ...root], 2, /not one of ls, stats, verify, rm\. Did you mean ls\?/],
    [["rm", ...root], 2, /say which blobs, or --all/],
    [["ls", "--all", ...root], 2, /--all belongs to rm/],
    [["ls", "--rm", ...root], 2, /--rm belongs to verify/],
    [["stats", "sha256:00", ...root], 2, /the whole cache/],
    [["rm", "sha256:", ...root], 1, /may be any of 3 blobs/],
    [["rm", "0".repeat(64), ...root], 1, /no blob here is/],
    [["ls", "--root", join(dir.path, "no")], 1, /no root directory of Eagle's blobs/],
    [["ls", "--config", join(dir.path, "no.yaml")], 1, /no\.yaml/],
  ] as const) {
    const { code: ended, stderr } = await eagle(["cache", ...args]);
    assert.equal(ended, code, stderr);
    assert.match(stderr, words);
  }
});
