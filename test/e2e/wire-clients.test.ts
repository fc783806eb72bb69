/**
 * @module Ordinary BitTorrent clients take blobs from Eagle, and Eagle takes blobs from them.
 */
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { btClientNames, needClients, startBtClient } from "../interop/bt-clients.ts";
import { MetainfoOnly } from "../interop/metainfo-only.ts";
import { askMetainfo, letIn, saveTorrent, untilSeeds } from "../interop/swarm.ts";
import { content } from "../rig/blob-content.ts";
import { type Cluster, startCluster } from "../rig/cluster.ts";
import { fileDigest, hexOf } from "../rig/engines/engine.ts";
import { pullBlob } from "../rig/expect-blob.ts";
import { Rig } from "../rig/rig.ts";
import { need } from "../rig/tools.ts";

const skip = need({ tools: ["docker-registry"] });
const repository = "library/wire";
const size = 20_000_000;

for (const [name, { bittorrent, webSeed }] of Object.entries({
  "wire alone": { bittorrent: true, webSeed: false },
  "web seed alone": { bittorrent: false, webSeed: true },
  "wire and web seed": { bittorrent: true, webSeed: true },
})) {
  describe(`clients download from Eagle: ${name}`, { skip }, () => {
    let rig: Rig;
    let cluster: Cluster;

    before(async () => {
      rig = await Rig.create();
      cluster = await startCluster(rig, {
        proxies: 0,
        // The seeder connects to peers that the tracker tells of: transmission connects to no loopback address.
        trackerConfig: { trackerCfg: { interval: 5 } },
        seederConfig: { seederCfg: { bittorrent } },
      });
    });
    after(() => rig.close());

    for (const client of btClientNames) {
      test(client, { skip: needClients(client) }, async () => {
        const blob = await cluster.pushBlob(repository, size, { seed: client });
        const torrent = await saveTorrent(cluster, { repository, blob, webSeed });
        const directory = rig.path(client);
        const sent = async () => ({
          wire: await cluster.seeder.bytes({ source: "wire", direction: "out" }),
          web: await cluster.seeder.bytes({ source: "peer", direction: "out" }),
        });
        const earlier = await sent();
        const process = await startBtClient(rig, client, { torrent, directory });
        await process.complete();
        assert.equal(await fileDigest(`${directory}/${hexOf(blob.digest)}.layer`), blob.digest);
        const now = await sent();
        const [wire, web] = [now.wire - earlier.wire, now.web - earlier.web];
        if (!webSeed) assert.ok(wire >= size && web === 0, `${wire} by wire, ${web} by web seed`);
        if (!bittorrent) assert.ok(web >= size && wire === 0, `${wire} by wire, ${web} by web seed`);
        assert.ok(wire + web >= size, `${wire} by wire, ${web} by web seed`);
        assert.equal(cluster.origin.blobBytes(blob.digest), size, "the origin was read once");
        await process.process.stop();
      });
    }
  });
}

describe("Eagle downloads from a client's seed alone", { skip }, () => {
  let rig: Rig;
  let cluster: Cluster;
  let front: MetainfoOnly;

  before(async () => {
    rig = await Rig.create();
    // A seeder that tells the tracker what it has would be a peer of the proxy as well.
    cluster = await startCluster(rig, { proxies: 0, seederConfig: { seederCfg: { bittorrent: false, trackers: [] } } });
    front = rig.use(await MetainfoOnly.start(cluster.seeder.url));
    await cluster.addProxy({ seeders: [front.url] });
  });
  after(() => rig.close());

  for (const client of btClientNames) {
    test(client, { skip: needClients(client) }, async () => {
      await cluster.origin.up();
      const blob = await cluster.pushBlob(repository, size, { seed: client });
      const torrent = await saveTorrent(cluster, { repository, blob, webSeed: false });
      const directory = rig.path(`seed-${client}`);
      await mkdir(directory);
      await writeFile(`${directory}/${hexOf(blob.digest)}.layer`, [
        ...content("random", `${repository} ${size} ${client}`, size),
      ]);
      const { process } = await startBtClient(rig, client, { torrent, directory, role: "seed" });
      await untilSeeds(cluster.tracker, await askMetainfo(cluster.seeder, repository, blob), 1);
      const proxy = cluster.proxy();
      await letIn(proxy, repository, blob);
      await cluster.origin.down();
      const earlier = await proxy.bytes({ source: "wire", direction: "in" });
      await pullBlob(proxy, repository, blob);
      const wire = (await proxy.bytes({ source: "wire", direction: "in" })) - earlier;
      assert.ok(wire >= size && wire < size * 1.1, `${wire} bytes by wire`);
      assert.equal(await proxy.bytes({ source: "seeder", direction: "in" }), 0, "no piece from the seeder");
      await process.stop();
    });
  }
});
