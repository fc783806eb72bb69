/**
 * @module 2 GiB go through seeder and proxy within 250 MB of memory each, also with a reader that is held to 1 MB/s for a
 * minute and then gone.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { blobUrl, readBlob } from "../rig/blob-reader.ts";
import { startCluster } from "../rig/cluster.ts";
import { pullBlob } from "../rig/expect-blob.ts";
import { Rig } from "../rig/rig.ts";
import { need } from "../rig/tools.ts";

const skip = need({ tools: ["docker-registry"] });
const size = 2 * 1024 ** 3;
const limit = 250_000_000;
const slowForMs = 60_000;

test("2 GiB through seeder and proxy, with a slow reader that leaves", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 1 });
  const blob = await cluster.pushBlob("library/big", size);
  const url = blobUrl(cluster.proxy().url, "library/big", blob.digest);
  const slow = readBlob(url, { rate: 1_000_000, signal: AbortSignal.timeout(slowForMs) });
  await sleep(1000);
  await pullBlob(cluster.proxy(), "library/big", blob);
  const { error, size: slowly } = await slow;
  assert.ok(error !== undefined && slowly > 0, "the slow reader got something and left");
  assert.ok(slowly < (slowForMs / 1000) * 1_500_000, `the slow reader was slow: ${slowly} bytes`);
  await pullBlob(cluster.proxy(), "library/big", blob);
  for (const part of [cluster.seeder, cluster.proxy()]) {
    const { peak, resident, anonymous, files } = part.process.memory();
    const [most, end, own, mapped] = [peak, resident, anonymous, files].map((bytes) => Math.round(bytes / 1e6));
    t.diagnostic(`${part.name}: ${most} MB at most, ${end} MB at the end (${own} its own, ${mapped} mapped files)`);
    assert.ok(peak < limit, `${part.name} took ${peak} bytes`);
  }
  assert.ok(cluster.origin.blobBytes() <= size * 1.02, "the origin was read once");
});
