/**
 * @module When seeder and origin are gone, hosts still get from each other what some of them hold.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startCluster } from "../rig/cluster.ts";
import { pullBlob } from "../rig/expect-blob.ts";
import { call } from "../rig/http-call.ts";
import { blobsOf } from "../rig/image.ts";
import { Rig } from "../rig/rig.ts";
import { need } from "../rig/tools.ts";

const skip = need({ tools: ["docker-registry"] });

test("a third proxy gets a public image from two others, without seeder and origin", { skip }, async (t) => {
  const rig = await Rig.for(t);
  const cluster = await startCluster(rig, { proxies: 3 });
  const layers = [{ size: 100_000 }, { size: 1_000_000 }, { size: 10_000_000 }, { size: 60_000_000 }];
  const image = await cluster.pushImage("library/public", layers);
  for (const blob of blobsOf(image)) {
    await pullBlob(cluster.proxy(0), "library/public", blob);
    await pullBlob(cluster.proxy(1), "library/public", blob);
  }
  await cluster.seeder.kill();
  await cluster.origin.down();
  for (const blob of blobsOf(image)) await pullBlob(cluster.proxy(2), "library/public", blob);

  const fromPeers = await cluster.proxy(2).bytes({ source: "peer", direction: "in" });
  const total = blobsOf(image).reduce((sum, { size }) => sum + size, 0);
  assert.ok(fromPeers >= total * 0.99, `${fromPeers} of ${total} bytes came from peers`);
});

test("it may do so if its caller was let in by the origin just before", { skip }, async (t) => {
  const rig = await Rig.for(t);
  const cluster = await startCluster(rig, { proxies: 2 });
  const blob = await cluster.pushBlob("library/checked", 20_000_000);
  await pullBlob(cluster.proxy(0), "library/checked", blob);
  const { url } = cluster.proxy(1);
  const head = await call(new URL(`/v2/library/checked/blobs/${blob.digest}`, url), { method: "HEAD" });
  assert.equal(head.status, 200);
  assert.equal(head.headers["content-length"], String(blob.size));
  await cluster.seeder.kill();
  await cluster.origin.down();
  await pullBlob(cluster.proxy(1), "library/checked", blob);
});
