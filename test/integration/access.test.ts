/** @module Who gets a private blob: who could get it from the registry, and nobody else. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { randomBytes, startCluster } from "./cluster.ts";
import { get } from "./http-get.ts";

const MiB = 1024 * 1024;
const right = `Basic ${Buffer.from("user:right").toString("base64")}`;

test("a private blob is not offered to other hosts and not given to other callers", async () => {
  await using cluster = await startCluster({ proxies: 2 });
  const [proxy, other] = cluster.proxies;
  const blob = cluster.registry.put(randomBytes(5 * MiB, 31), { repository: "team/secret", authorization: right });
  const url = cluster.blobUrl(proxy!, blob);
  const mine = await get(url, { headers: { authorization: right } });
  assert.ok(mine.whole && mine.body.equals(blob.bytes));

  for (const authorization of [undefined, `Basic ${Buffer.from("user:wrong").toString("base64")}`]) {
    const refused = await get(url, authorization ? { headers: { authorization } } : {});
    assert.equal(refused.status, 401);
    assert.equal(refused.headers["www-authenticate"], 'Basic realm="test"', "the registry's own challenge");
    assert.equal(JSON.parse(refused.body.toString()).errors[0].code, "UNAUTHORIZED");
    const head = await get(url, { method: "HEAD", headers: authorization ? { authorization } : {} });
    assert.equal(head.status, 401);
  }
  const elsewhere = await get(cluster.blobUrl(proxy!, { repository: "library/app", digest: blob.digest }), {
    headers: { authorization: right },
  });
  assert.equal(elsewhere.status, 404, "naming it under another repository does not help");

  const peer = `http://127.0.0.1:${proxy!.peerPort}/p2p/v1/blobs/${blob.digest}`;
  assert.equal((await get(peer)).status, 404);
  assert.equal((await get(peer, { headers: { range: "bytes=0-524287" } })).status, 404);
  assert.equal((await get(`${peer}/pieces`)).status, 404);
  assert.equal((await get(`${peer}/metainfo`)).status, 404);
  assert.equal((await get(`${peer}/next`, { method: "POST", headers: { "content-length": "0" } })).status, 404);
  const seeder = cluster.seeder!.url;
  assert.equal((await get(`${seeder}/p2p/v1/blobs/${blob.digest}`)).status, 404);
  assert.equal((await get(`${seeder}/torrents/${blob.digest}.torrent`)).status, 404);

  const theirs = await get(cluster.blobUrl(other!, blob), { headers: { authorization: right } });
  assert.ok(theirs.whole && theirs.body.equals(blob.bytes), "another host asks the registry itself");
});

test("while the registry is down a private blob is given only to who was allowed before", async () => {
  await using cluster = await startCluster();
  const [proxy] = cluster.proxies;
  const blob = cluster.registry.put(randomBytes(2 * MiB, 32), { repository: "team/secret", authorization: right });
  const url = cluster.blobUrl(proxy!, blob);
  await get(url, { headers: { authorization: right } });
  await cluster.registry.close();
  const mine = await get(url, { headers: { authorization: right } });
  assert.ok(mine.whole && mine.body.equals(blob.bytes));
  const fresh = `Basic ${Buffer.from("user:other").toString("base64")}`;
  assert.equal((await get(url, { headers: { authorization: fresh } })).status, 502);
  assert.equal((await get(cluster.blobUrl(proxy!, { repository: "x/y", digest: blob.digest }))).status, 502);
  assert.equal((await get(`http://127.0.0.1:${proxy!.peerPort}/p2p/v1/blobs/${blob.digest}`)).status, 404);
});

test("a private blob stays private over a restart", async () => {
  await using cluster = await startCluster();
  const blob = cluster.registry.put(randomBytes(2 * MiB, 33), { repository: "team/secret", authorization: right });
  await get(cluster.blobUrl(cluster.proxies[0]!, blob), { headers: { authorization: right } });
  await cluster.proxies[0]!.close();
  const again = await cluster.addProxy(0);
  assert.equal((await get(`http://127.0.0.1:${again.peerPort}/p2p/v1/blobs/${blob.digest}`)).status, 404);
  assert.equal((await get(cluster.blobUrl(again, blob))).status, 401);
  const mine = await get(cluster.blobUrl(again, blob), { headers: { authorization: right } });
  assert.ok(mine.whole && mine.headers["x-eagle-source"] === "cache");
});

test("the operator's credentials serve callers without any, and nothing of it is offered", async () => {
  await using cluster = await startCluster({ seeder: false });
  const blob = cluster.registry.put(randomBytes(MiB, 34), { repository: "team/secret", authorization: right });
  const registries = { [cluster.registry.authority]: { username: "user", password: "right" } };
  await using configured = await startCluster({
    seeder: false,
    proxyCfg: { origin: cluster.registry.url },
    registries,
  });
  const { whole, body } = await get(configured.blobUrl(configured.proxies[0]!, blob));
  assert.ok(whole && body.equals(blob.bytes));
  assert.equal(
    (await get(`http://127.0.0.1:${configured.proxies[0]!.peerPort}/p2p/v1/blobs/${blob.digest}`)).status,
    404,
  );
});
