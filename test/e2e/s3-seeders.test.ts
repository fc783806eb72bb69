/**
 * @module Two seeders over one bucket: the origin is read once; when the seeder that reads it is killed, the other goes
 * on, and no pull fails. By leases where the bucket has conditional writes, by rendezvous where it has not.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { askMetainfo } from "../interop/swarm.ts";
import { readBlob } from "../rig/blob-reader.ts";
import { startCluster } from "../rig/cluster.ts";
import type { EagleApp } from "../rig/eagle.ts";
import { pullBlob } from "../rig/expect-blob.ts";
import type { Descriptor } from "../rig/image.ts";
import { sumOf } from "../rig/metrics-text.ts";
import { Rig } from "../rig/rig.ts";
import { type S3Server, s3Servers } from "../rig/s3-servers.ts";
import { need } from "../rig/tools.ts";
import { until } from "../rig/until.ts";

const size = 60_000_000;
const repository = "library/shared";

for (const kind of s3Servers) {
  const skip = need({ tools: ["docker-registry", ...kind.tools], optional: kind.name === "versitygw" });
  describe(`two seeders over one bucket at ${kind.name}`, { skip }, () => {
    test("eight proxies, cold: the origin is read once", async (t) => {
      const { cluster, seeders } = await start(await Rig.for(t));
      const blobs = [
        await cluster.pushBlob(repository, size),
        await cluster.pushBlob(repository, 700_000, { seed: "b" }),
      ];
      cluster.origin.inject({ kind: "slow", rate: 8_000_000 }, { times: Number.POSITIVE_INFINITY });
      // Which seeder a proxy asks is a matter of chance: here each is asked for each blob.
      const asked = seeders.flatMap((seeder) => blobs.map((blob) => askMetainfo(seeder, repository, blob)));
      const pulls = cluster.proxies.flatMap((proxy) => blobs.map((blob) => pullBlob(proxy, repository, blob)));
      await Promise.all([...asked, ...pulls]);
      for (const blob of blobs) {
        const bytes = cluster.origin.blobBytes(blob.digest);
        const isOnce = bytes >= blob.size && bytes <= blob.size * 1.02;
        assert.ok(
          isOnce,
          `${bytes} of ${blob.size} bytes; what the parts said:\n${said([...seeders, ...cluster.proxies])}`,
        );
        t.diagnostic(`origin: ${bytes} of ${blob.size} bytes`);
      }
      for (const proxy of cluster.proxies) assert.equal(await proxy.bytes({ source: "origin", direction: "in" }), 0);
      await stored(seeders, blobs);

      // A seeder that has never heard of them, with an empty directory, serves them out of the bucket.
      for (const seeder of seeders) await seeder.stop();
      const third = await cluster.addSeeder({ config: seederConfig(server!) });
      const proxy = await cluster.addProxy({ seeders: [third.url] });
      for (const blob of blobs) await pullBlob(proxy, repository, blob);
      for (const blob of blobs) assert.ok(cluster.origin.blobBytes(blob.digest) <= blob.size * 1.02, "not read again");
      const web = await readBlob(new URL(`/p2p/v1/blobs/${blobs[0]!.digest}`, third.url));
      assert.equal(web.status, 307, "web seeds are sent to the bucket");
      const direct = await readBlob(new URL(String(web.headers.location)));
      assert.equal(direct.digest, blobs[0]!.digest);
    });

    test("the seeder that reads is killed half-way: the other goes on", async (t) => {
      const { cluster, seeders } = await start(await Rig.for(t));
      const blob = await cluster.pushBlob(repository, size, { seed: "killed" });
      cluster.origin.inject({ kind: "slow", rate: 4_000_000 }, { times: Number.POSITIVE_INFINITY });
      const pulls = Promise.all(cluster.proxies.map((proxy) => pullBlob(proxy, repository, blob)));
      pulls.catch(() => {});
      await until(() => cluster.origin.blobBytes(blob.digest) > size / 2, {
        what: "half of the blob",
        timeoutMs: 60_000,
      });
      const read = await Promise.all(seeders.map((seeder) => seeder.bytes({ source: "origin", direction: "in" })));
      const reader = read[0]! > read[1]! ? 0 : 1;
      assert.equal(read[1 - reader], 0, "one of them reads");
      await seeders[reader]!.kill();
      const before = cluster.origin.blobBytes(blob.digest);
      await pulls;
      const bytes = cluster.origin.blobBytes(blob.digest);
      t.diagnostic(`origin: ${before} bytes when the seeder was killed, ${bytes} in all, of ${size}`);
      assert.ok(bytes <= size * 2, `${bytes} bytes`);
      const proxies = await Promise.all(
        cluster.proxies.map((proxy) => proxy.bytes({ source: "origin", direction: "in" })),
      );
      assert.deepEqual(
        proxies,
        cluster.proxies.map(() => 0),
        "no proxy read the origin",
      );
      await stored([seeders[1 - reader]!], [blob]);
    });

    let server: S3Server | undefined;

    async function start(rig: Rig) {
      server = await kind.start(rig);
      const cluster = await startCluster(rig, { seeders: 2, proxies: 8, seederConfig: seederConfig(server) });
      return { cluster, seeders: [...cluster.seeders] };
    }
  });
}

function seederConfig({ config }: S3Server): Record<string, Record<string, unknown>> {
  const { endpoint, ...s3 } = config;
  return { seederCfg: { storageBackend: "s3", s3: { ...s3, endpoint: endpoint.href, presign: true } } };
}

/** What parts said of turns, leases and the origin. */
function said(parts: readonly EagleApp[]): string {
  const lines = parts.flatMap(({ name, process }) => process.output.split("\n").map((line) => `${name} ${line}`));
  return lines.filter((line) => /"(info|warn|error)"/.test(line)).join("\n");
}

/** Waits until the seeders count so many blobs as committed. */
async function stored(seeders: readonly EagleApp[], blobs: readonly Descriptor[]): Promise<void> {
  for (const seeder of seeders) {
    await until(async () => sumOf(await seeder.metrics(), "eagle_cache_blobs") >= blobs.length, {
      what: `${seeder.name} to have ${blobs.length} blobs committed`,
      timeoutMs: 60_000,
    });
  }
}
