/**
 * @module Two seeders in the list, one killed or mute under fifty callers, or while it sends: no call fails, and who has
 * begun at one goes on at the other.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MetaInfoClient } from "../../lib/rpc/client.ts";
import { type Cluster, registryName, startCluster } from "../rig/cluster.ts";
import type { EagleApp } from "../rig/eagle.ts";
import { pullBlob } from "../rig/expect-blob.ts";
import type { Descriptor } from "../rig/image.ts";
import { Rig } from "../rig/rig.ts";
import { need } from "../rig/tools.ts";

const skip = need({ tools: ["docker-registry"] });
const repository = "library/fifty";
const callers = 50;
const callsEach = 4;

const failures: { name: string; fail: (seeder: EagleApp) => unknown }[] = [
  { name: "killed", fail: (seeder) => seeder.kill() },
  { name: "mute", fail: (seeder) => seeder.freeze() },
];

for (const { name, fail } of failures) {
  describe(`one of two seeders is ${name}`, { skip }, () => {
    test("no call of fifty callers fails", async (t) => {
      const cluster = await startCluster(await Rig.for(t), { proxies: 0, seeders: 2 });
      const blobs = await pushFifty(cluster);
      const client = new MetaInfoClient({
        seeders: cluster.seeders.map(({ url }) => url),
        deadlineMs: 2000,
        progressTimeoutMs: 5000,
      });
      t.after(() => client.close());
      let calls = 0;
      await Promise.all(
        blobs.map(async ({ digest }, caller) => {
          for (let turn = 0; turn < callsEach; turn++) {
            const url = `http://${registryName}/v2/${repository}/blobs/${digest}`;
            const metainfo = await client.getMetaInfo({ url, key: digest, signal: AbortSignal.timeout(60_000) });
            assert.ok(Buffer.from(metainfo).includes(`${digest.slice(7)}.layer`), `caller ${caller}, turn ${turn}`);
            if (++calls === callers) await fail(cluster.seeder);
          }
        }),
      );
      assert.equal(calls, callers * callsEach);
    });

    test("no pull of fifty through a proxy fails", async (t) => {
      const cluster = await startCluster(await Rig.for(t), { proxies: 1, seeders: 2 });
      const blobs = await pushFifty(cluster);
      let pulled = 0;
      const pull = async (blob: Descriptor) => {
        await pullBlob(cluster.proxy(), repository, blob);
        if (++pulled === 5) await fail(cluster.seeder);
      };
      await Promise.all(blobs.map(pull));
      assert.equal(pulled, callers);
    });
  });
}

test("the seeder that sends is killed: the other sends the rest, and the origin nothing", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), {
    proxies: 1,
    seeders: 2,
    seederConfig: { seederCfg: { uploadRateLimit: "10M" } },
  });
  const blob = await cluster.pushBlob(repository, 30_000_000);
  await Promise.all(cluster.seeders.map((seeder) => warm(seeder, blob)));
  const before = cluster.origin.blobBytes(blob.digest);
  let killed: Promise<void> | undefined;
  const killSender = async () => {
    const sent = await Promise.all(cluster.seeders.map((seeder) => seeder.bytes({ direction: "out" })));
    await cluster.seeders[sent.indexOf(Math.max(...sent))]!.kill();
  };
  const onProgress = (bytes: number) => {
    if (bytes > blob.size / 3) killed ??= killSender();
  };
  await pullBlob(cluster.proxy(), repository, blob, { onProgress });
  assert.ok(killed, "it was killed while it sent");
  await killed;
  assert.equal(cluster.origin.blobBytes(blob.digest), before);
});

/** Has a seeder read a blob. */
async function warm(seeder: EagleApp, { digest }: Descriptor): Promise<void> {
  await using client = new MetaInfoClient({ seeders: [seeder.url] });
  await client.getMetaInfo({ url: `http://${registryName}/v2/${repository}/blobs/${digest}` });
}

async function pushFifty(cluster: Cluster): Promise<Descriptor[]> {
  const blobs: Descriptor[] = [];
  for (let number = 0; number < callers; number++) {
    blobs.push(await cluster.pushBlob(repository, 600_000 + number, { seed: String(number) }));
  }
  return blobs;
}
