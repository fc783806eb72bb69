/** @module Pulls through a whole cluster: cold, warm, together, by range. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { randomBytes, startCluster, until } from "./cluster.ts";
import { get } from "./http-get.ts";

const MiB = 1024 * 1024;

test("cold, then from the cache, then by another host: the origin is read once", async () => {
  await using cluster = await startCluster({ proxies: 2 });
  const { registry, proxies } = cluster;
  const [first, second] = proxies;
  const large = registry.put(randomBytes(9 * MiB + 1234, 1));
  const tiny = registry.put(randomBytes(3000, 2));
  for (const blob of [large, tiny]) {
    registry.sent = 0;
    const cold = await get(cluster.blobUrl(first!, blob));
    assert.equal(cold.status, 200);
    assert.ok(cold.whole && cold.body.equals(blob.bytes));
    assert.equal(cold.headers["docker-content-digest"], blob.digest);
    assert.equal(cold.headers["content-length"], String(blob.bytes.length));
    assert.equal(registry.sent, blob.bytes.length);
    const warm = await get(cluster.blobUrl(first!, blob));
    assert.ok(warm.whole && warm.body.equals(blob.bytes));
    const other = await get(cluster.blobUrl(second!, blob));
    assert.ok(other.whole && other.body.equals(blob.bytes));
    await until(() => get(cluster.blobUrl(first!, blob)).then(({ headers }) => headers["x-eagle-source"] === "cache"));
    assert.equal(registry.sent, blob.bytes.length, "nobody read the origin again");
  }
  const head = await get(cluster.blobUrl(first!, large), { method: "HEAD" });
  assert.equal(head.headers["content-length"], String(large.bytes.length));
});

test("eight cold pulls on three hosts at once: one read of the origin", async () => {
  await using cluster = await startCluster({ proxies: 3 });
  const blob = cluster.registry.put(randomBytes(8 * MiB + 77, 3), { pace: 2 });
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, index) => get(cluster.blobUrl(cluster.proxies[index % 3]!, blob))),
  );
  for (const { whole, body, status } of answers) assert.ok(status === 200 && whole && body.equals(blob.bytes));
  assert.equal(cluster.registry.sent, blob.bytes.length);
});

test("ranges, cold and warm, small blobs and large", async () => {
  await using cluster = await startCluster();
  const [proxy] = cluster.proxies;
  const blob = cluster.registry.put(randomBytes(12 * MiB, 4));
  const url = cluster.blobUrl(proxy!, blob);
  const ranges: [string, number, number][] = [
    ["bytes=6000000-6004095", 6_000_000, 6_004_096],
    ["bytes=0-0", 0, 1],
    ["bytes=11000000-", 11_000_000, 12 * MiB],
    ["bytes=-100", 12 * MiB - 100, 12 * MiB],
  ];
  for (const [range, start, end] of ranges) {
    const { status, headers, body, whole } = await get(url, { headers: { range } });
    assert.equal(status, 206, range);
    assert.equal(headers["content-range"], `bytes ${start}-${end - 1}/${12 * MiB}`);
    assert.ok(whole && body.equals(blob.bytes.subarray(start, end)), range);
  }
  assert.equal((await get(url, { headers: { range: `bytes=${12 * MiB}-` } })).status, 416);
  assert.ok(cluster.registry.sent <= blob.bytes.length);
  const small = cluster.registry.put(randomBytes(700_000, 5));
  const { status, body } = await get(cluster.blobUrl(proxy!, small), { headers: { range: "bytes=10-19" } });
  assert.equal(status, 206);
  assert.ok(body.equals(small.bytes.subarray(10, 20)));
});

test("slow readers get every byte right while others read fast", async () => {
  await using cluster = await startCluster();
  const [proxy] = cluster.proxies;
  const blob = cluster.registry.put(randomBytes(8 * MiB, 6));
  await get(cluster.blobUrl(proxy!, blob));
  let slow = true;
  const slowly = Array.from({ length: 3 }, () =>
    get(cluster.blobUrl(proxy!, blob), { onData: () => slow && new Promise((resolve) => setTimeout(resolve, 3)) }),
  );
  for (let round = 0; round < 6; round++) {
    const { whole, body } = await get(cluster.blobUrl(proxy!, blob));
    assert.ok(whole && body.equals(blob.bytes));
  }
  slow = false;
  for (const { whole, body } of await Promise.all(slowly)) assert.ok(whole && body.equals(blob.bytes));
});

test("what was committed is served at once after a restart, also without any registry", async () => {
  await using cluster = await startCluster();
  const blob = cluster.registry.put(randomBytes(5 * MiB, 7));
  await get(cluster.blobUrl(cluster.proxies[0]!, blob));
  await cluster.proxies[0]!.close();
  const again = await cluster.addProxy(0);
  const sent = cluster.registry.sent;
  const { headers, whole, body } = await get(cluster.blobUrl(again, blob));
  assert.ok(whole && body.equals(blob.bytes));
  assert.equal(headers["x-eagle-source"], "cache");
  assert.equal(cluster.registry.sent, sent);
  await cluster.registry.close();
  const alone = await get(cluster.blobUrl(again, blob));
  assert.ok(alone.whole && alone.body.equals(blob.bytes));
});

test("without a seeder a host that has the blob gives it to the next", async () => {
  await using cluster = await startCluster({ proxies: 2, seeder: false });
  const blob = cluster.registry.put(randomBytes(6 * MiB, 8));
  const first = await get(cluster.blobUrl(cluster.proxies[0]!, blob));
  assert.ok(first.whole && first.body.equals(blob.bytes));
  const second = await get(cluster.blobUrl(cluster.proxies[1]!, blob));
  assert.ok(second.whole && second.body.equals(blob.bytes));
  assert.equal(cluster.registry.sent, blob.bytes.length);
});
