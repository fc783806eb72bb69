/**
 * @module A seeder and a proxy with small roots are killed (-9) at random moments under load, again and again. Whatever
 * they were doing: no wrong byte is served or stored, what was committed is there, nothing is leaked, and the origin is
 * read once for what nobody has.
 *
 * `EAGLE_CRASH_ROUNDS` (20) says how often, `EAGLE_CRASH_SEED` makes a run again.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { prng } from "../../lib/bt/testing/blobs.ts";
import { type BlobRead, blobUrl, readBlob } from "../rig/blob-reader.ts";
import { type Cluster, startCluster } from "../rig/cluster.ts";
import type { EagleApp } from "../rig/eagle.ts";
import { assertWhole, pullBlob } from "../rig/expect-blob.ts";
import type { Descriptor } from "../rig/image.ts";
import { Rig } from "../rig/rig.ts";
import { committedFiles, isCommitted } from "../rig/stored-blobs.ts";
import { type CallKind, killAtCall } from "../rig/strace.ts";
import { need } from "../rig/tools.ts";
import { until } from "../rig/until.ts";

const skip = need({ tools: ["docker-registry"] });
const rounds = Number(process.env.EAGLE_CRASH_ROUNDS ?? 20);
const seed = Number(process.env.EAGLE_CRASH_SEED ?? 1);
const repository = "library/crash";
const MiB = 1024 * 1024;
const limit = 32 * MiB;
const blobCount = 48;
const maxSize = 6 * MiB;
const clients = 6;
/** Beside its blobs a root holds what arrives, which no limit cuts off, and some bytes for each blob. */
const slack = clients * maxSize + blobCount * 64 * 1024;

test(`${rounds} times kill -9 under load (seed ${seed})`, { skip, timeout: 60_000 + rounds * 15_000 }, async (t) => {
  const random = prng(seed);
  const small = { limitSize: `${limit}`, minFree: "1K", downloadTimeout: 5 };
  const cluster = await startCluster(await Rig.for(t), {
    proxies: 1,
    seederConfig: { seederCfg: { ...small, uploadRateLimit: "40M" } },
    proxyConfig: { clientCfg: small },
  });
  const world = new World(cluster, await pushBlobs(cluster, random), random);
  for (let round = 0; round < rounds; round++) {
    const did = await world.round();
    t.diagnostic(`round ${round}: ${did}`);
  }
  t.diagnostic(`${world.whole} blobs came whole, ${world.cut} were cut by a kill`);
  assert.ok(world.whole > rounds, "there was load");
});

/** The steps by which a blob comes to the disk, in their order. */
const steps: readonly { at: string; calls: readonly CallKind[]; path: (root: string, id: string) => string }[] = [
  { at: "the making of the partial file", calls: ["open"], path: (root, id) => `${root}/partial/${id}` },
  { at: "a write to the partial file", calls: ["write"], path: (root, id) => `${root}/partial/${id}` },
  { at: "the sync of the metainfo's directory", calls: ["sync"], path: (root) => `${root}/torrents` },
  { at: "the sync of the partial file", calls: ["sync"], path: (root, id) => `${root}/partial/${id}` },
  { at: "the rename of the partial file", calls: ["rename"], path: (root, id) => `${root}/partial/${id}` },
  { at: "the sync of the data directory", calls: ["sync"], path: (root) => `${root}/data` },
  { at: "an eviction, at the blob", calls: ["unlink"], path: (root, id) => `${root}/data/${id}.layer` },
  { at: "an eviction, at the metainfo", calls: ["unlink"], path: (root, id) => `${root}/torrents/${id}.torrent` },
];

for (const victim of ["proxy", "seeder"] as const) {
  test(`a ${victim} killed at each step of a blob's way to the disk`, {
    skip: skip || need({ tools: ["strace"] }),
  }, async (t) => {
    const rig = await Rig.for(t);
    const small = { limitSize: "8M", minFree: "1K", downloadTimeout: 5 };
    const cluster = await startCluster(rig, {
      proxies: 1,
      ...(victim === "seeder" ? { seederConfig: { seederCfg: small } } : { proxyConfig: { clientCfg: small } }),
    });
    const part = victim === "proxy" ? cluster.proxy() : cluster.seeder;
    for (const [index, { at, calls, path }] of steps.entries()) {
      const blob = await cluster.pushBlob(repository, 5 * MiB, { seed: `${victim} ${index}` });
      const filler = await cluster.pushBlob(repository, 6 * MiB, { seed: `${victim} ${index} filler` });
      const id = blob.digest.slice(7);
      const evicts = at.startsWith("an eviction");
      if (evicts) {
        await pullBlob(cluster.proxy(), repository, blob);
        await until(() => isCommitted(part, blob.digest), { what: "the commit" });
      }
      const trap = await killAtCall(rig, part.process, { calls, paths: [path(part.directory!, id)] });
      const url = blobUrl(cluster.proxy().url, repository, (evicts ? filler : blob).digest);
      const read = await readBlob(url, { signal: AbortSignal.timeout(30_000) }).catch(() => undefined);
      if (read?.complete && read.status === 200) assertWhole(read, evicts ? filler : blob);
      else assert.equal(victim, "proxy", "a pull through a living proxy must not fail");
      await trap.dead;
      await trap.end();
      for (const file of await committedFiles(part)) {
        assert.equal(`${await hashOf(join(part.directory!, "data", file))}.layer`, file, `at ${at}`);
      }
      await part.start();
      await assertSwept(part);
      await pullBlob(cluster.proxy(), repository, blob);
      // And it goes on to keep blobs.
      const next = await cluster.pushBlob(repository, 100_000, { seed: `${victim} ${index} next` });
      await pullBlob(cluster.proxy(), repository, next);
      await until(() => isCommitted(part, next.digest), { what: "the next blob to be kept" });
      t.diagnostic(`killed at ${at}`);
    }
  });
}

/** Nothing is left that nobody will use. */
async function assertSwept(part: EagleApp): Promise<void> {
  await until(async () => (await orphans(part)).length === 0, { what: `${part.name} to sweep` }).catch(async () => {
    assert.deepEqual(await orphans(part), [], `${part.name} keeps what nobody will use`);
  });
}

class World {
  readonly #cluster: Cluster;
  readonly #blobs: readonly Descriptor[];
  readonly #random: () => number;
  whole = 0;
  cut = 0;

  constructor(cluster: Cluster, blobs: readonly Descriptor[], random: () => number) {
    this.#cluster = cluster;
    this.#blobs = blobs;
    this.#random = random;
  }

  /** Load, kill, look at the dead, start, look again. @returns what was done, in words. */
  async round(): Promise<string> {
    const [seeder, proxy] = [this.#cluster.seeder, this.#cluster.proxy()];
    const draw = this.#random();
    const victims = draw < 0.4 ? [proxy] : draw < 0.8 ? [seeder] : [seeder, proxy];
    const afterMs = Math.floor(20 + this.#random() ** 2 * 1200);
    const heard = new Map(victims.map((part) => [part, part.process]));
    const load = this.#load({ proxyDies: victims.includes(proxy) });
    await sleep(afterMs);
    await Promise.all(victims.map((part) => part.kill()));
    await load.stop();
    assert.equal(heard.size, victims.length);
    const left = new Map<EagleApp, string[]>();
    for (const part of victims) left.set(part, await this.#lookAtDead(part));
    for (const part of victims) await part.start();
    for (const part of victims) await this.#lookAtRevived(part, left.get(part)!);
    await this.#readOnce();
    return `${victims.map(({ name }) => name).join(" and ")} after ${afterMs} ms`;
  }

  /** Clients that pull one blob after the other. A pull through a living proxy must not fail. */
  #load({ proxyDies }: { proxyDies: boolean }): { stop(): Promise<void> } {
    let stopped = false;
    const client = async () => {
      while (!stopped) {
        const blob = this.#pick();
        const read = await this.#pull(blob);
        if (read?.complete && read.status === 200) {
          assertWhole(read, blob);
          this.whole++;
        } else {
          assert.ok(proxyDies, `a pull failed: ${read?.status} ${read?.error} ${read?.text.slice(0, 300)}`);
          this.cut++;
          await sleep(20);
        }
      }
    };
    const running = Promise.all(Array.from({ length: clients }, client));
    running.catch(() => {});
    return {
      async stop() {
        stopped = true;
        await running;
      },
    };
  }

  async #pull(blob: Descriptor): Promise<BlobRead | undefined> {
    const url = blobUrl(this.#cluster.proxy().url, repository, blob.digest);
    return await readBlob(url, { signal: AbortSignal.timeout(60_000) }).catch(() => undefined);
  }

  #pick(): Descriptor {
    return this.#blobs[Math.floor(this.#random() ** 1.5 * this.#blobs.length)]!;
  }

  /** No committed file has a wrong byte, and the root is not larger than it may be. @returns the committed files. */
  async #lookAtDead(part: EagleApp): Promise<string[]> {
    const committed = await committedFiles(part);
    for (const file of committed) {
      assert.equal(`${await hashOf(join(part.directory!, "data", file))}.layer`, file, `${part.name} stored it wrong`);
      const torrent = file.replace(".layer", ".torrent");
      assert.ok((await names(part, "torrents")).includes(torrent), `${part.name}: ${file} without its metainfo`);
    }
    await this.#within(part);
    return committed;
  }

  async #within(part: EagleApp): Promise<void> {
    const bytes = await diskUsage(part.directory!);
    assert.ok(bytes <= limit + slack, `the root of ${part.name} takes ${bytes} bytes`);
  }

  /** What was committed is there and served without the origin; nothing else is left that nobody will use. */
  async #lookAtRevived(part: EagleApp, committed: readonly string[]): Promise<void> {
    const { origin } = this.#cluster;
    const now = await committedFiles(part);
    const bytes = sum(await Promise.all(committed.map(async (file) => this.#sizeOf(file))));
    if (bytes <= limit) assert.deepEqual(now, committed, `${part.name} lost what it had committed`);
    await assertSwept(part);
    const before = origin.blobBytes();
    await origin.down();
    for (const file of await committedFiles(part)) {
      const digest = `sha256:${file.slice(0, 64)}`;
      const blob = this.#blobs.find((one) => one.digest === digest)!;
      if (part.app === "proxy") {
        const read = await pullBlob(part, repository, blob);
        assert.equal(read.headers["x-eagle-source"], "cache");
      } else {
        const url = new URL(`/p2p/v1/blobs/${digest}`, part.url);
        assertWhole(await readBlob(url, { signal: AbortSignal.timeout(30_000) }), blob);
      }
    }
    await origin.up();
    assert.equal(origin.blobBytes(), before);
    await this.#within(part);
  }

  /** A blob that nobody has is read once from the origin, however many ask. */
  async #readOnce(): Promise<void> {
    const { origin, seeder } = this.#cluster;
    const proxy = this.#cluster.proxy();
    const here = new Set([...(await committedFiles(seeder)), ...(await committedFiles(proxy))]);
    const nowhere = this.#blobs.filter(({ digest }) => !here.has(`${digest.slice(7)}.layer`));
    const blob = nowhere[Math.floor(this.#random() * nowhere.length)];
    if (!blob) return;
    const before = origin.blobBytes(blob.digest);
    const reads = await Promise.all(Array.from({ length: 4 }, () => this.#pull(blob)));
    for (const read of reads) {
      assert.ok(read, "an answer came");
      assertWhole(read, blob);
    }
    const bytes = origin.blobBytes(blob.digest) - before;
    assert.ok(bytes <= blob.size, `${bytes} bytes of ${blob.size} were read from the origin`);
  }

  #sizeOf(file: string): number {
    return this.#blobs.find(({ digest }) => file.startsWith(digest.slice(7)))?.size ?? Number.NaN;
  }
}

async function pushBlobs(cluster: Cluster, random: () => number): Promise<Descriptor[]> {
  const blobs: Descriptor[] = [];
  for (let index = 0; index < blobCount; index++) {
    // Many small ones, some of several pieces.
    const size = Math.floor(2000 + random() ** 3 * (maxSize - 2000));
    blobs.push(await cluster.pushBlob(repository, size, { seed: `${seed} ${index}` }));
  }
  return blobs;
}

/** Files of a root that belong to no blob that is kept or may be gone on with. */
async function orphans(part: EagleApp): Promise<string[]> {
  const data = new Set((await names(part, "data")).map((name) => name.replace(/\.layer$/, "")));
  const torrents = (await names(part, "torrents")).filter((name) => !data.has(name.replace(/\.torrent$/, "")));
  const partial = await names(part, "partial");
  const scraps = partial.filter((name) => {
    const id = name.slice(0, 64);
    // Committed already, a draft of nobody, or notes about a file that is not there.
    return data.has(id) || name.endsWith(".draft") || !partial.includes(id);
  });
  const root = (await names(part)).filter((name) => name.startsWith("lock."));
  return [...torrents, ...scraps, ...root];
}

async function names({ directory }: EagleApp, ...path: string[]): Promise<string[]> {
  return (await readdir(join(directory!, ...path))).sort();
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/** Bytes that the files below a directory take on the disk. */
async function diskUsage(directory: string): Promise<number> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  // One may be gone by now.
  const sizes = files.map(({ parentPath, name }) =>
    lstat(join(parentPath, name)).then(
      ({ blocks }) => blocks * 512,
      () => 0,
    ),
  );
  return sum(await Promise.all(sizes));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
