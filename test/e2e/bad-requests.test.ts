/**
 * @module Requests that no honest client sends: each a clear error, nothing lost, and every process alive.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { blobUrl } from "../rig/blob-reader.ts";
import { type Cluster, startCluster } from "../rig/cluster.ts";
import { CountingProxy } from "../rig/counting-proxy.ts";
import { assertOciError, pullBlob } from "../rig/expect-blob.ts";
import { call } from "../rig/http-call.ts";
import type { Descriptor } from "../rig/image.ts";
import { exchange, statusOf } from "../rig/raw-http.ts";
import { Rig } from "../rig/rig.ts";
import { need } from "../rig/tools.ts";

const skip = need({ tools: ["docker-registry"] });
const repository = "library/bad";

describe("bad requests", { skip }, () => {
  let rig: Rig;
  let cluster: Cluster;
  let blob: Descriptor;

  before(async () => {
    rig = await Rig.create();
    cluster = await startCluster(rig, { proxies: 1 });
    blob = await cluster.pushBlob(repository, 2_000_000);
    await pullBlob(cluster.proxy(), repository, blob);
  });
  after(() => rig.close());

  afterEach(async () => {
    for (const part of [cluster.tracker, cluster.seeder, cluster.proxy()])
      assert.equal(await part.health(), 200, part.name);
    const before = cluster.origin.blobBytes();
    await pullBlob(cluster.proxy(), repository, blob);
    assert.equal(cluster.origin.blobBytes(), before, "the cached blob is still there");
  });

  const statusOfRaw = async (url: URL, head: string) =>
    statusOf(await exchange(url, `${head}\r\nHost: ${url.host}\r\nConnection: close\r\n\r\n`));

  test("malformed digests", async () => {
    const hex = blob.digest.slice(7);
    const digests = [
      "sha256:abc",
      `sha256:${hex.toUpperCase()}`,
      `sha256:${hex}0`,
      `md5:${hex.slice(32)}`,
      `sha256-${hex}`,
      "sha256:",
    ];
    for (const digest of digests) {
      const answer = await call(blobUrl(cluster.proxy().url, repository, digest));
      assertOciError(answer, [400, 404]);
    }
    assert.ok(cluster.origin.blobReads().every(({ url }) => url.includes(blob.digest)));
  });

  test("path tricks reach no file and no other repository", async () => {
    const paths = [
      `/v2/library/../${repository}/blobs/${blob.digest}`,
      `/v2/${repository}/blobs/../../../../../etc/passwd`,
      `/v2/${repository}/blobs/..%2f..%2f..%2fetc%2fpasswd`,
      `/v2/library%2fbad/blobs/${blob.digest}`,
      `/v2//${repository}/blobs/${blob.digest}`,
      `/v2/${repository}//blobs/${blob.digest}`,
      `/v2/${repository}/blobs/${blob.digest}%00`,
      `/v2/${repository}/blobs/${blob.digest}/../x`,
      `/v2/${"a/".repeat(4000)}blobs/${blob.digest}`,
      `/v2/UPPER/blobs/${blob.digest}`,
    ];
    for (const path of paths) {
      const status = await statusOfRaw(cluster.proxy().url, `GET ${path} HTTP/1.1`);
      assert.ok(status !== undefined && status >= 400 && status < 500, `${path.slice(0, 80)}: ${status}`);
    }
    for (const place of [cluster.seeder.url, cluster.proxy().peerUrl]) {
      for (const path of [
        "/torrents/../../etc/passwd",
        "/torrents/..%2f..%2fx.torrent",
        "/p2p/v1/blobs/..%2f..%2fdata",
        "/p2p/v1/blobs/sha256:12",
      ]) {
        const status = await statusOfRaw(place, `GET ${path} HTTP/1.1`);
        assert.ok(status !== undefined && status >= 400 && status < 500, `${place} ${path}: ${status}`);
      }
    }
  });

  test("an upstream that is not allowed gets no request: no open proxy", async () => {
    const canary = rig.use(await CountingProxy.start(cluster.registry.url));
    const absolute = await call(blobUrl(canary.url, repository, blob.digest), { proxy: cluster.proxy().url });
    assert.ok(absolute.status >= 400 && absolute.status < 500, `${absolute.status}`);
    const scoped = await call(blobUrl(cluster.proxy().url, repository, blob.digest, canary.url.host));
    assert.ok(scoped.status >= 400 && scoped.status < 500, `${scoped.status}`);
    const tunnel = await exchange(
      cluster.proxy().url,
      `CONNECT ${canary.url.host} HTTP/1.1\r\nHost: ${canary.url.host}\r\n\r\n`,
    );
    assert.equal(statusOf(tunnel), 403);
    assert.deepEqual(canary.requests, []);
  });

  test("a Range beyond the end", async () => {
    const places = [
      blobUrl(cluster.proxy().url, repository, blob.digest),
      new URL(`/p2p/v1/blobs/${blob.digest}`, cluster.proxy().peerUrl),
      new URL(`/p2p/v1/blobs/${blob.digest}`, cluster.seeder.url),
    ];
    for (const url of places) {
      const answer = await call(url, { headers: { range: "bytes=2000000-2000010" } });
      assert.equal(answer.status, 416, url.href);
      assert.equal(answer.headers["content-range"], "bytes */2000000");
      const tail = await call(url, { headers: { range: "bytes=1999990-9999999999" } });
      assert.equal(tail.status, 206, url.href);
      assert.equal(tail.body.length, 10);
    }
  });

  test("a Range of a cold blob beyond its end", async () => {
    const cold = await cluster.pushBlob(repository, 3_000_000);
    const answer = await call(blobUrl(cluster.proxy().url, repository, cold.digest), {
      headers: { range: "bytes=3000000-" },
    });
    assert.equal(answer.status, 416);
  });

  test("a header of 1 MB", async () => {
    for (const url of everyPort(cluster)) {
      const answer = await exchange(
        url,
        `GET /v2/ HTTP/1.1\r\nHost: ${url.host}\r\nX-Big: ${"a".repeat(1_000_000)}\r\n\r\n`,
      );
      assert.ok([431, undefined].includes(statusOf(answer)), `${url}: ${answer.slice(0, 100)}`);
    }
  });

  test("bytes that are no HTTP", async () => {
    const garbage = [
      Buffer.from("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "latin1"),
      Buffer.alloc(100_000, 0xff),
      Buffer.from("GET\r\n\r\n"),
      Buffer.from("GET / HTTP/9.9\r\n\r\n"),
      Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot frames at all, not frames at all"),
      Buffer.from("GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    ];
    for (const url of everyPort(cluster)) {
      for (const bytes of garbage) {
        const status = statusOf(await exchange(url, bytes, { quietMs: 500 }));
        assert.ok(status === undefined || status >= 400, `${url}: ${status}`);
      }
    }
  });

  test("a hostile bitfield and hostile RPC messages", async () => {
    for (const place of [cluster.proxy().peerUrl, cluster.seeder.url]) {
      const next = new URL(`/p2p/v1/blobs/${blob.digest}/next`, place);
      const answer = await call(next, { method: "POST", body: Buffer.alloc(20_000_000, 0xff) }).catch(() => undefined);
      assert.ok(answer === undefined || (answer.status >= 400 && answer.status < 500), `${answer?.status}`);
    }
    const rpc = new URL("/metainfo.MetaInfo/GetMetaInfo", cluster.seeder.url);
    for (const body of ["{", '{"url": 7}', '{"url": null}', `{"url": "${"a".repeat(20_000_000)}"}`]) {
      const answer = await call(rpc, { method: "POST", headers: { "content-type": "application/json" }, body }).catch(
        () => undefined,
      );
      assert.ok(
        answer === undefined || (answer.status >= 400 && answer.status < 500),
        `${body.slice(0, 20)}: ${answer?.status}`,
      );
    }
  });
});

/** The HTTP ports of all parts. */
function everyPort(cluster: Cluster): URL[] {
  return [cluster.tracker.url, cluster.seeder.url, cluster.proxy().url, cluster.proxy().peerUrl];
}
