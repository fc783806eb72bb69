/**
 * @module Starting, stopping, being killed and starting again.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startCluster } from "../rig/cluster.ts";
import { pullBlob } from "../rig/expect-blob.ts";
import { call } from "../rig/http-call.ts";
import { Rig } from "../rig/rig.ts";
import { isCommitted } from "../rig/stored-blobs.ts";
import { need } from "../rig/tools.ts";
import { until } from "../rig/until.ts";

const skip = need({ tools: ["docker-registry"] });
const repository = "library/life";

test("every app says how it is, on each of its ports", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 1 });
  const { tracker, seeder } = cluster;
  for (const url of [tracker.url, seeder.url, cluster.proxy().url, cluster.proxy().peerUrl]) {
    for (const path of ["/healthz", "/readyz"])
      assert.equal((await call(new URL(path, url))).status, 200, `${url}${path}`);
    const metrics = await call(new URL("/metrics", url));
    assert.match(metrics.headers["content-type"] ?? "", /^text\/plain/);
    assert.match(metrics.text, /^eagle_/m);
  }
});

test("kill -9 and a new start: what was committed is served without the origin", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 1 });
  const blob = await cluster.pushBlob(repository, 20_000_000);
  await pullBlob(cluster.proxy(), repository, blob);
  // A pull ends with its last byte, which may be before the disk has all of them.
  for (const part of [cluster.proxy(), cluster.seeder])
    await until(() => isCommitted(part, blob.digest), { what: `${part.name} to commit` });
  const before = cluster.origin.blobBytes();
  for (const part of [cluster.proxy(), cluster.seeder, cluster.tracker]) await part.kill();
  for (const part of [cluster.tracker, cluster.seeder, cluster.proxy()]) await part.start();
  await pullBlob(cluster.proxy(), repository, blob);
  const third = await cluster.addProxy();
  await pullBlob(third, repository, blob);
  assert.equal(cluster.origin.blobBytes(), before);
});

test("kill -9 in the middle of a download: the next pull is right", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 1 });
  const blob = await cluster.pushBlob(repository, 30_000_000);
  cluster.origin.inject({ kind: "slow", rate: 8_000_000 }, { times: Number.POSITIVE_INFINITY });
  let killed: Promise<unknown> | undefined;
  const onProgress = (bytes: number) => {
    if (bytes > blob.size / 3) killed ??= Promise.all([cluster.proxy().kill(), cluster.seeder.kill()]);
  };
  await assert.rejects(pullBlob(cluster.proxy(), repository, blob, { onProgress }));
  await killed;
  cluster.origin.heal();
  await cluster.seeder.start();
  await cluster.proxy().start();
  await pullBlob(cluster.proxy(), repository, blob);
});

test("SIGTERM: what runs is finished, then each part exits 0", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 1 });
  const blob = await cluster.pushBlob(repository, 30_000_000);
  cluster.origin.inject({ kind: "slow", rate: 8_000_000 }, { times: Number.POSITIVE_INFINITY });
  let stopped: ReturnType<ReturnType<typeof cluster.proxy>["stop"]> | undefined;
  await pullBlob(cluster.proxy(), repository, blob, {
    onProgress: (bytes) => {
      if (bytes > blob.size / 3) stopped ??= cluster.proxy().stop({ graceMs: 60_000 });
    },
  });
  assert.deepEqual(await stopped, { code: 0, signal: null });
  for (const part of [cluster.seeder, cluster.tracker]) {
    assert.deepEqual(await part.stop({ graceMs: 30_000 }), { code: 0, signal: null }, part.name);
  }
});

test("two processes on one directory: the second is refused", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 1 });
  const { directory } = cluster.proxy();
  await assert.rejects(cluster.addProxy({ config: { clientCfg: { rootDirectory: directory } } }), (error: Error) => {
    assert.match(error.message, /ended/);
    assert.ok(error.message.includes(directory ?? ""), error.message);
    return true;
  });
  assert.equal(await cluster.proxy().health(), 200);
});
