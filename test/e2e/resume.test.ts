/**
 * @module A download that is killed goes on where it stopped: what had been verified is neither fetched again nor
 * believed unread.
 */
import assert from "node:assert/strict";
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { type Cluster, startCluster } from "../rig/cluster.ts";
import type { EagleApp } from "../rig/eagle.ts";
import { pullBlob } from "../rig/expect-blob.ts";
import { call } from "../rig/http-call.ts";
import type { Descriptor } from "../rig/image.ts";
import { Rig } from "../rig/rig.ts";
import { need } from "../rig/tools.ts";
import { until } from "../rig/until.ts";

const skip = need({ tools: ["docker-registry"] });
const repository = "library/resume";
const size = 40_000_000;
const pieceLength = 512 * 1024;
/** What may be under way when a part dies: some pieces a connection, and what the registry had sent ahead. */
const underWay = 8_000_000;

/** Pulls slowly, kills parts once half of the body has come, and starts them again. */
async function killHalfWay(
  cluster: Cluster,
  blob: Descriptor,
  { parts, between = async () => {} }: { parts: readonly EagleApp[]; between?: () => Promise<void> },
): Promise<void> {
  cluster.origin.inject({ kind: "slow", rate: 10_000_000 }, { times: Number.POSITIVE_INFINITY });
  let killed: Promise<unknown> | undefined;
  const onProgress = (bytes: number) => {
    if (bytes > blob.size / 2) killed ??= Promise.all(parts.map((part) => part.kill()));
  };
  await pullBlob(cluster.proxy(), repository, blob, { onProgress }).catch(() => {});
  assert.ok(killed, "half of it came");
  await killed;
  cluster.origin.heal();
  await between();
  for (const part of parts) await part.start();
}

async function resumedBytes(part: EagleApp): Promise<number> {
  const url = part.peerUrl ?? part.url;
  const { text } = await call(new URL("/metrics", url));
  return Number(/^eagle_resumed_bytes_total\{.*\} (\d+)$/m.exec(text)?.[1]);
}

async function partials({ directory }: EagleApp): Promise<string[]> {
  return await readdir(join(directory!, "partial"));
}

test("seeder and proxy killed half-way: both go on, the origin sends the other half", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 1 });
  const blob = await cluster.pushBlob(repository, size);
  const parts = [cluster.seeder, cluster.proxy()];
  await killHalfWay(cluster, blob, { parts });
  for (const part of parts) assert.equal((await partials(part)).length, 2, "a file and its journal");
  const before = cluster.origin.blobBytes(blob.digest);
  await pullBlob(cluster.proxy(), repository, blob);
  const sent = cluster.origin.blobBytes(blob.digest) - before;
  assert.ok(sent <= size / 2 + underWay, `the origin sent ${sent} bytes more`);
  for (const part of parts) {
    const resumed = await resumedBytes(part);
    assert.ok(resumed > size / 2 - underWay, `${part.name} took up ${resumed} bytes`);
    // The body ends before the blob is stored for good.
    await until(async () => (await partials(part)).length === 0, { what: `the commit at ${part.name}` });
  }
});

test("what was altered in between is fetched again, and no wrong byte is served", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 1 });
  const blob = await cluster.pushBlob(repository, size);
  const parts = [cluster.seeder, cluster.proxy()];
  const noted = new Map<EagleApp, number>();
  const between = async () => {
    for (const part of parts) {
      const names = (await partials(part)).map((name) => join(part.directory!, "partial", name)).sort();
      const [partial, journal] = names as [string, string];
      noted.set(part, ((await stat(journal)).size - 32) / 24);
      const file = await open(partial, "r+");
      for (let at = 0; at < size / 2; at += 4_000_000) await file.write(Buffer.from("wrong"), 0, 5, at);
      await file.close();
    }
  };
  await killHalfWay(cluster, blob, { parts, between });
  await pullBlob(cluster.proxy(), repository, blob);
  for (const part of parts) {
    const resumed = (await resumedBytes(part)) / pieceLength;
    const pieces = noted.get(part)!;
    assert.ok(resumed > 0 && resumed <= pieces - 4, `${part.name} took up ${resumed} of ${pieces} pieces`);
  }
});

test("the seeder alone killed half-way: it goes on as well, and peers keep what they had", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 1 });
  const blob = await cluster.pushBlob(repository, size);
  await killHalfWay(cluster, blob, { parts: [cluster.seeder] });
  await pullBlob(cluster.proxy(), repository, blob);
  const second = await cluster.addProxy();
  await pullBlob(second, repository, blob);
  const total = cluster.origin.blobBytes(blob.digest);
  assert.ok(total <= size * 1.5 + 2 * underWay, `the origin sent ${total} bytes`);
});
