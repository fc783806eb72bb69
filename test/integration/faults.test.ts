/** @module What breaks in the middle of a pull, and what the engine sees of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { randomBytes, startCluster, until } from "./cluster.ts";
import { get } from "./http-get.ts";
import { startRegistry } from "./registry.ts";

const MiB = 1024 * 1024;

test("the seeder goes while it reads: the body is finished all the same", async () => {
  await using cluster = await startCluster();
  const blob = cluster.registry.put(randomBytes(10 * MiB, 11), { pace: 20 });
  let closing: Promise<void> | undefined;
  const { whole, body } = await get(cluster.blobUrl(cluster.proxies[0]!, blob), {
    onData: (received) => {
      if (received < MiB || closing) return;
      closing = cluster.seeder!.close();
      blob.pace = 0;
    },
  });
  await closing;
  assert.ok(closing, "it went in the middle");
  assert.ok(whole && body.equals(blob.bytes));
});

test("the seeder goes while it uploads: the next host finishes from the first", async () => {
  await using cluster = await startCluster({ proxies: 2, clientCfg: { downloadRateLimit: "8M" } });
  const [first, second] = cluster.proxies;
  const blob = cluster.registry.put(randomBytes(10 * MiB, 12));
  await get(cluster.blobUrl(first!, blob));
  const { sent } = cluster.registry;
  let closing: Promise<void> | undefined;
  const { whole, body } = await get(cluster.blobUrl(second!, blob), {
    onData: (received) => {
      if (received >= MiB) closing ??= cluster.seeder!.close();
    },
  });
  await closing;
  assert.ok(whole && body.equals(blob.bytes));
  assert.ok(cluster.registry.sent <= sent + blob.bytes.length);
});

test("a peer goes in the middle: the others finish it", async () => {
  await using cluster = await startCluster({ proxies: 2, seeder: false, clientCfg: { downloadRateLimit: "8M" } });
  const [first, second] = cluster.proxies;
  const blob = cluster.registry.put(randomBytes(10 * MiB, 13));
  await get(cluster.blobUrl(first!, blob));
  let closing: Promise<void> | undefined;
  const { whole, body } = await get(cluster.blobUrl(second!, blob), {
    onData: (received) => {
      if (received >= MiB) closing ??= first!.close();
    },
  });
  assert.ok(closing, "it went in the middle");
  assert.ok(whole && body.equals(blob.bytes));
  await closing;
});

test("the registry flips a bit: no body ends well with it, and then it is right", async () => {
  for (const seeder of [true, false]) {
    await using cluster = await startCluster({ seeder });
    const [proxy] = cluster.proxies;
    const large = cluster.registry.put(randomBytes(6 * MiB, 14));
    const small = cluster.registry.put(randomBytes(800_000, 15));
    for (const blob of [large, small]) {
      blob.flips.push(100, 100, 100);
      const first = await get(cluster.blobUrl(proxy!, blob));
      const right = first.status === 200 && first.whole && first.body.equals(blob.bytes);
      assert.ok(right || first.status === 502 || !first.whole, `${first.status} ${first.whole}`);
      blob.flips.length = 0;
      const second = await get(cluster.blobUrl(proxy!, blob));
      assert.ok(second.whole && second.body.equals(blob.bytes), `seeder: ${seeder}, ${second.status}`);
    }
  }
});

test("a registry that always lies: 502, and it is not read again and again", async () => {
  await using cluster = await startCluster();
  const blob = cluster.registry.put(randomBytes(700_000, 16));
  blob.flips.push(...new Array<number>(100).fill(5));
  const url = cluster.blobUrl(cluster.proxies[0]!, blob);
  for (let round = 0; round < 3; round++) {
    const { status, whole } = await get(url);
    assert.ok(status === 502 || !whole);
  }
  const { sent } = cluster.registry;
  const { status, body, headers } = await get(url);
  assert.equal(status, 502);
  assert.match(headers["content-type"] ?? "", /json/);
  assert.ok(JSON.parse(body.toString()).errors[0].message);
  assert.equal(cluster.registry.sent, sent);
});

test("the registry is down: what is cached is served, the rest is 502 with the error body of OCI", async () => {
  await using cluster = await startCluster();
  const [proxy] = cluster.proxies;
  const cached = cluster.registry.put(randomBytes(MiB, 17));
  const other = cluster.registry.put(randomBytes(MiB, 18));
  await get(cluster.blobUrl(proxy!, cached));
  await cluster.registry.close();
  const served = await get(cluster.blobUrl(proxy!, cached));
  assert.ok(served.whole && served.body.equals(cached.bytes));
  for (const url of [
    cluster.blobUrl(proxy!, other),
    `${proxy!.url}/v2/`,
    `${proxy!.url}/v2/library/app/manifests/latest`,
  ]) {
    const { status, body } = await get(url);
    assert.equal(status, 502, url);
    assert.equal(JSON.parse(body.toString()).errors[0].code, "UNAVAILABLE");
  }
  await using revived = await startRegistry(cluster.registry.port);
  const back = revived.put(other.bytes);
  await until(async () => (await get(cluster.blobUrl(proxy!, back))).status === 200);
});

test("no seeder and no tracker answer: the registry does", async () => {
  await using cluster = await startCluster();
  const blob = cluster.registry.put(randomBytes(5 * MiB, 19));
  await Promise.all([cluster.seeder!.close(), cluster.tracker.close()]);
  const { whole, body } = await get(cluster.blobUrl(cluster.proxies[0]!, blob));
  assert.ok(whole && body.equals(blob.bytes));
});

test("a client that leaves does not fail the others, and the fetch goes on", async () => {
  await using cluster = await startCluster();
  const blob = cluster.registry.put(randomBytes(6 * MiB, 20), { pace: 10 });
  const url = cluster.blobUrl(cluster.proxies[0]!, blob);
  const gone = new AbortController();
  const leaving = get(url, { signal: gone.signal, onData: () => gone.abort() }).catch(() => undefined);
  const staying = get(url);
  await leaving;
  blob.pace = 0;
  const { whole, body } = await staying;
  assert.ok(whole && body.equals(blob.bytes));
  assert.equal(cluster.registry.sent, blob.bytes.length);
});

test("larger than the cache: streamed from the registry", async () => {
  await using cluster = await startCluster({ clientCfg: { limitSize: "1M" } });
  const blob = cluster.registry.put(randomBytes(3 * MiB, 21));
  const { whole, body, headers } = await get(cluster.blobUrl(cluster.proxies[0]!, blob));
  assert.ok(whole && body.equals(blob.bytes));
  assert.equal(headers["x-eagle-source"], "origin");
});
