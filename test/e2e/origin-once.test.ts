/**
 * @module However many ask at the same moment, the origin is read once.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Cluster, startCluster } from "../rig/cluster.ts";
import { pullBlob } from "../rig/expect-blob.ts";
import type { Descriptor } from "../rig/image.ts";
import { Rig } from "../rig/rig.ts";
import { need } from "../rig/tools.ts";

const skip = need({ tools: ["docker-registry"] });
const size = 40_000_000;

function assertReadOnce({ origin }: Cluster, { digest }: Descriptor): void {
  const bytes = origin.blobBytes(digest);
  assert.ok(bytes >= size && bytes <= size * 1.02, `${bytes} bytes by ${JSON.stringify(origin.blobReads(digest))}`);
}

test("eight simultaneous cold requests at one proxy read the origin once", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 1 });
  const blob = await cluster.pushBlob("library/eight", size);
  cluster.origin.inject({ kind: "slow", rate: 10_000_000 }, { times: Number.POSITIVE_INFINITY });
  await Promise.all(Array.from({ length: 8 }, () => pullBlob(cluster.proxy(), "library/eight", blob)));
  assertReadOnce(cluster, blob);
});

test("one cold request each at four proxies reads the origin once", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 4 });
  const blob = await cluster.pushBlob("library/four", size);
  cluster.origin.inject({ kind: "slow", rate: 10_000_000 }, { times: Number.POSITIVE_INFINITY });
  await Promise.all(cluster.proxies.map((proxy) => pullBlob(proxy, "library/four", blob)));
  assertReadOnce(cluster, blob);
  const fromPeers = await Promise.all(cluster.proxies.map((proxy) => proxy.bytes({ source: "peer", direction: "in" })));
  t.diagnostic(`bytes from peers: ${fromPeers.join(", ")} of ${size} each`);
});

test("tiny blobs too, at four proxies at once", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 4 });
  const blobs = await Promise.all(
    [1, 1000, 262_144, 262_145, 600_000].map((bytes) => cluster.pushBlob("library/tiny", bytes)),
  );
  await Promise.all(cluster.proxies.flatMap((proxy) => blobs.map((blob) => pullBlob(proxy, "library/tiny", blob))));
  for (const { digest, size } of blobs)
    assert.equal(cluster.origin.blobBytes(digest), size, `${digest}, ${size} bytes`);
});

test("a caller that leaves does not fail the others", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 1 });
  const blob = await cluster.pushBlob("library/leaver", size);
  cluster.origin.inject({ kind: "slow", rate: 10_000_000 }, { times: Number.POSITIVE_INFINITY });
  const leaving = new AbortController();
  const first = pullBlob(cluster.proxy(), "library/leaver", blob, {
    signal: leaving.signal,
    onProgress: (bytes) => {
      if (bytes > size / 8) leaving.abort();
    },
  });
  const others = Array.from({ length: 3 }, () => pullBlob(cluster.proxy(), "library/leaver", blob));
  await assert.rejects(first);
  await Promise.all(others);
  assertReadOnce(cluster, blob);
});
