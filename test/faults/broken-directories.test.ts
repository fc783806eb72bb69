/**
 * @module Parts of a root directory go away under a running proxy or seeder, at each stage of a blob's way to the disk:
 * pulls go on with the right bytes, nothing half-done stays, and when the directory is back blobs are kept again.
 * The same faults as a failing disk's, without a disk that fails: see test/e2e/disk-faults.test.ts for those.
 */
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type Cluster, randomBytes, startCluster, until } from "../integration/cluster.ts";
import { get } from "../integration/http-get.ts";
import type { StoredBlob } from "../integration/registry.ts";
import { parseMetrics } from "../rig/metrics-text.ts";
import { nothingArrives } from "../rig/stored-blobs.ts";

const KiB = 1024;
/** Held whole until its digest agrees; streamed as it arrives. */
const sizes = [700 * KiB, 5000 * KiB];
let serial = 9000;

interface Broken extends AsyncDisposable {
  readonly cluster: Cluster;
  /** The root of the part that is to break. */
  readonly root: string;
  put(size: number): StoredBlob;
  /** Pulls through the proxy and checks every byte. @returns where the first came from */
  pull(blob: StoredBlob): Promise<string>;
  /** Whether the part that is to break has stored it, to the last sync. */
  keeps(blob: StoredBlob): Promise<boolean>;
}

async function start(where: "proxy" | "seeder"): Promise<Broken> {
  const root = await mkdtemp(join(tmpdir(), "eagle-faults-"));
  const own = { rootDirectory: root };
  const cluster = await startCluster(where === "proxy" ? { clientCfg: own } : { seederCfg: own });
  const [proxy] = cluster.proxies;
  const { url } = where === "proxy" ? proxy! : cluster.seeder!;
  const metrics = async () => parseMetrics((await get(`${url}/metrics`)).body.toString());
  return {
    cluster,
    root,
    put: (size) => cluster.registry.put(randomBytes(size, serial++)),
    async pull(blob) {
      const { status, whole, body, headers } = await get(cluster.blobUrl(proxy!, blob));
      assert.equal(status, 200, body.toString("latin1", 0, 500));
      assert.ok(whole && body.equals(blob.bytes), `${body.length} of ${blob.bytes.length} bytes`);
      return String(headers["x-eagle-source"]);
    },
    keeps: async (blob) =>
      (await readdir(join(root, "data"))).includes(`${hex(blob)}.layer`) && (await nothingArrives({ metrics })),
    async [Symbol.asyncDispose]() {
      await cluster[Symbol.asyncDispose]();
      await rm(root, { recursive: true, force: true });
    },
  };
}

function hex({ digest }: StoredBlob): string {
  return digest.slice("sha256:".length);
}

/** All files of the root that are named after a blob. */
async function remains(root: string, blob: StoredBlob): Promise<string[]> {
  const found = await readdir(root, { recursive: true });
  return found.filter((path) => path.includes(hex(blob)));
}

for (const where of ["proxy", "seeder"] as const) {
  describe(`the root of the ${where}`, () => {
    for (const directory of ["partial", "torrents", "data"]) {
      test(`without ${directory}/`, async () => {
        await using world = await start(where);
        const away = join(world.root, "away");
        for (const size of sizes) {
          await rename(join(world.root, directory), away);
          const blob = world.put(size);
          await world.pull(blob);
          await world.pull(blob);
          await until(async () => (await remains(world.root, blob)).length === 0);
          await rename(away, join(world.root, directory));
          const next = world.put(size);
          await world.pull(next);
          await until(() => world.keeps(next));
          await world.pull(next);
        }
      });
    }

    test("with a file in the place of partial/", async () => {
      await using world = await start(where);
      const place = join(world.root, "partial");
      await rename(place, join(world.root, "away"));
      await writeFile(place, "");
      for (const size of sizes) await world.pull(world.put(size));
      await rm(place);
      await rename(join(world.root, "away"), place);
      const blob = world.put(sizes[0]!);
      await world.pull(blob);
      await until(() => world.keeps(blob));
    });
  });
}

describe("a stored blob", () => {
  for (const size of sizes) {
    test(`of ${size} bytes that has become too short is fetched anew`, async () => {
      await using world = await start("proxy");
      const blob = world.put(size);
      await world.pull(blob);
      await until(() => world.keeps(blob));
      const file = join(world.root, "data", `${hex(blob)}.layer`);
      await truncate(file, size - 100 * KiB);
      await world.pull(blob);
      await world.pull(blob);
      await until(async () => (await world.keeps(blob)) && (await readFile(file)).equals(blob.bytes));
      await until(async () => (await world.pull(blob)) === "cache");
    });

    test(`of ${size} bytes whose file goes while it is open is fetched anew`, async () => {
      await using world = await start("proxy");
      const blob = world.put(size);
      await world.pull(blob);
      await until(() => world.keeps(blob));
      await until(async () => (await world.pull(blob)) === "cache");
      const file = join(world.root, "data", `${hex(blob)}.layer`);
      // It is open here: shortened under the reader, as a file system that lost its end would show it.
      await truncate(file, 1000);
      await world.pull(blob);
      await world.pull(blob);
      await until(async () => (await world.keeps(blob)) && (await readFile(file)).equals(blob.bytes));
    });
  }

  test("whose metainfo is torn is fetched anew", async () => {
    await using world = await start("proxy");
    const blob = world.put(sizes[1]!);
    await world.pull(blob);
    await until(() => world.keeps(blob));
    const torrent = join(world.root, "torrents", `${hex(blob)}.torrent`);
    const whole = await readFile(torrent);
    await writeFile(torrent, whole.subarray(0, 100));
    // A pull that meets the blob while it is still open from its arrival has no need of the file.
    await until(async () => {
      await world.pull(blob);
      return (await readFile(torrent).catch(() => Buffer.alloc(0))).equals(whole);
    });
    await until(async () => (await world.pull(blob)) === "cache");
  });
});
