/** @module A private blob in the cache: each caller hears what the registry would say, and the registry is asked once. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Cluster, type ClusterInit, randomBytes, startCluster, until } from "./cluster.ts";
import { get } from "./http-get.ts";
import type { StoredBlob } from "./registry.ts";

const MiB = 1024 * 1024;
const basic = (text: string) => `Basic ${Buffer.from(text).toString("base64")}`;
const [right, wrong, theirs] = [basic("user:right"), basic("user:wrong"), basic("other:theirs")];

/** A cluster whose proxy has `secret` (of team/secret) in its cache. */
async function withCached(
  init: ClusterInit,
  run: (
    cluster: Cluster,
    secret: StoredBlob,
    ask: (path: string, authorization?: string) => ReturnType<typeof get>,
  ) => Promise<void>,
): Promise<void> {
  const cluster = await startCluster(init);
  try {
    const { registry } = cluster;
    const secret = registry.put(randomBytes(5 * MiB, 71), { repository: "team/secret", authorization: right });
    const ask = (path: string, authorization?: string) =>
      get(`${cluster.proxies[0]!.url}/v2/${path}`, authorization ? { headers: { authorization } } : {});
    const first = await ask(`team/secret/blobs/${secret.digest}`, right);
    assert.ok(first.whole && first.body.equals(secret.bytes));
    await run(cluster, secret, ask);
  } finally {
    await cluster[Symbol.asyncDispose]();
  }
}

test("no, wrong and others' credentials, another repository's path: what the registry would say", async () => {
  await withCached({}, async (cluster, { digest }, ask) => {
    const { registry } = cluster;
    registry.put(randomBytes(1000, 72), { repository: "team/other", authorization: theirs });
    registry.put(randomBytes(1000, 73), { repository: "open/app" });
    const path = `team/secret/blobs/${digest}`;
    const cases: [string, string | undefined][] = [
      [path, undefined],
      [path, wrong],
      [path, theirs],
      [`team/other/blobs/${digest}`, theirs],
      [`team/other/blobs/${digest}`, right],
      [`open/app/blobs/${digest}`, undefined],
      [`open/app/blobs/${digest}`, right],
    ];
    for (const [asked, authorization] of cases) {
      const direct = await get(`${registry.url}/v2/${asked}`, authorization ? { headers: { authorization } } : {});
      const answer = await ask(asked, authorization);
      assert.equal(answer.status, direct.status, `${asked} ${authorization}`);
      assert.equal(answer.headers["www-authenticate"], direct.headers["www-authenticate"]);
      assert.ok(answer.body.length < 1000);
    }
  });
});

test("the right credentials: from the cache, by one HEAD, and by none within the minute", async () => {
  await withCached({}, async (cluster, { digest, bytes }) => {
    const { registry } = cluster;
    // Another process, which remembers nothing, over the same directory.
    await cluster.proxies[0]!.close();
    const proxy = await cluster.addProxy(0);
    const before = registry.requests.length;
    for (let round = 0; round < 3; round++) {
      const { whole, body, headers } = await get(`${proxy.url}/v2/team/secret/blobs/${digest}`, {
        headers: { authorization: right },
      });
      assert.ok(whole && body.equals(bytes));
      assert.equal(headers["x-eagle-source"], "cache");
    }
    assert.deepEqual(registry.requests.slice(before), [`HEAD /v2/team/secret/blobs/${digest}`]);
  });
});

test("a restart keeps what is private private, and what is public public", async () => {
  await withCached({ cluster: { secret: "a secret of this cluster" } }, async (cluster, { digest }) => {
    const open = cluster.registry.put(randomBytes(2 * MiB, 74));
    await get(cluster.blobUrl(cluster.proxies[0]!, open));
    await cluster.proxies[0]!.close();
    // Once as it was, once without the secret.
    for (const section of [{ secret: "a secret of this cluster" }, {}]) {
      const proxy = await cluster.addProxy(0, { cluster: section });
      const peer = `http://127.0.0.1:${proxy.peerPort}/p2p/v1/blobs`;
      assert.equal((await get(`${peer}/${digest}`)).status, 404);
      assert.equal((await get(`${peer}/${open.digest}`)).status, 200);
      assert.equal((await get(`${proxy.url}/v2/team/secret/blobs/${digest}`)).status, 401);
      await proxy.close();
    }
  });
});

test("always: each caller is checked for what is public too", async () => {
  await withCached({ proxyCfg: { authorize: "always" } }, async (cluster, _, ask) => {
    const { registry } = cluster;
    const open = registry.put(randomBytes(2 * MiB, 75));
    const path = `${open.repository}/blobs/${open.digest}`;
    const heads = () => registry.requests.filter((line) => line === `HEAD /v2/${path}`).length;
    assert.ok((await ask(path)).whole);
    assert.equal(heads(), 1);
    for (const authorization of [right, wrong, right]) assert.ok((await ask(path, authorization)).whole);
    assert.equal(heads(), 3, "each new caller costs one");
    await registry.close();
    assert.equal((await ask(path, theirs)).status, 502, "without the registry's word nobody new gets anything");
    assert.ok((await ask(path, right)).whole, "who was allowed still is");
  });
});

test("never: what is private goes past the cache", async () => {
  const cluster = await startCluster({ proxyCfg: { authorize: "never" } });
  try {
    const { registry, proxies } = cluster;
    const secret = registry.put(randomBytes(2 * MiB, 76), { repository: "team/secret", authorization: right });
    for (let round = 1; round <= 2; round++) {
      const answer = await get(cluster.blobUrl(proxies[0]!, secret), { headers: { authorization: right } });
      assert.ok(answer.whole && answer.body.equals(secret.bytes));
      assert.equal(answer.headers["x-eagle-source"], "origin");
      assert.equal(registry.requests.filter((line) => line.startsWith("GET ")).length, round);
    }
    const open = registry.put(randomBytes(2 * MiB, 77));
    await get(cluster.blobUrl(proxies[0]!, open));
    const source = async () => (await get(cluster.blobUrl(proxies[0]!, open))).headers["x-eagle-source"];
    await until(async () => (await source()) === "cache");
  } finally {
    await cluster[Symbol.asyncDispose]();
  }
});
