/** @module The proxy's port as engines use it: mirror, ns=, absolute-form, CONNECT. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { randomBytes, startCluster } from "./cluster.ts";
import { get } from "./http-get.ts";
import { startRegistry } from "./registry.ts";

/** Says CONNECT, then sends a request through. @returns what came, as text, when the other side closed or a moment passed. */
function tunnel(port: number, to: string, then: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(`CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\n\r\n`));
    let text = "";
    let sent = false;
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      if (!sent && text.startsWith("HTTP/1.1 200")) {
        sent = true;
        socket.write(then);
      }
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(text));
    socket.setTimeout(5000, () => socket.destroy());
  });
}

test("a mirror answers for its default registry, ns= names another, unknown ones are 404", async () => {
  await using second = await startRegistry();
  await using cluster = await startCluster({ proxyCfg: { origins: [second.url] } });
  const [proxy] = cluster.proxies;
  const first = cluster.registry.put(randomBytes(100_000, 41));
  const other = second.put(randomBytes(120_000, 42), { repository: "other/app" });
  assert.equal((await get(`${proxy!.url}/v2/`)).body.toString(), "{}");
  assert.ok((await get(cluster.blobUrl(proxy!, first))).body.equals(first.bytes));
  const named = await get(`${cluster.blobUrl(proxy!, other)}?ns=${second.authority}`);
  assert.ok(named.body.equals(other.bytes));
  assert.equal(named.headers["oci-namespace"], second.authority);
  const unknown = await get(`${cluster.blobUrl(proxy!, other)}?ns=example.com`);
  assert.equal(unknown.status, 404);
  assert.equal(JSON.parse(unknown.body.toString()).errors[0].code, "NAME_UNKNOWN");
  assert.equal((await get(`${proxy!.url}/v2/library/app/blobs/sha256:xyz`)).status, 400);
  const passed = await get(`${proxy!.url}/v2/library/app/manifests/none`);
  assert.equal(passed.status, 404);
  assert.match(cluster.registry.latest.via ?? "", /^1\.1 eagle-/);
});

test("absolute-form is served for allowed registries alone", async () => {
  await using stranger = await startRegistry();
  await using cluster = await startCluster();
  const [proxy] = cluster.proxies;
  const blob = cluster.registry.put(randomBytes(5_000_000, 43));
  const target = `${cluster.registry.url}/v2/${blob.repository}/blobs/${blob.digest}`;
  const { whole, body } = await get(proxy!.url, { target });
  assert.ok(whole && body.equals(blob.bytes));
  const again = await get(cluster.blobUrl(proxy!, blob));
  assert.ok(again.body.equals(blob.bytes));
  assert.equal(cluster.registry.sent, blob.bytes.length, "one blob, whatever form it is asked for in");
  assert.equal((await get(proxy!.url, { target: `${cluster.registry.url}/v2/` })).body.toString(), "{}");
  for (const foreign of [`${stranger.url}/v2/`, "http://example.com/"]) {
    assert.equal((await get(proxy!.url, { target: foreign })).status, 403, foreign);
  }
  assert.equal(stranger.requests.length, 0);
});

test("CONNECT leads to allowed hosts and ports alone", async () => {
  await using stranger = await startRegistry();
  await using registry = await startRegistry();
  await using cluster = await startCluster({ proxyCfg: { origin: registry.url, connectPorts: [registry.port] } });
  const { port } = cluster.proxies[0]!;
  const request = "GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  assert.match(await tunnel(port, registry.authority, request), /^HTTP\/1\.1 200[\s\S]*\{\}$/);
  assert.match(await tunnel(port, stranger.authority, request), /^HTTP\/1\.1 403/);
  assert.match(await tunnel(port, `example.com:${registry.port}`, request), /^HTTP\/1\.1 403/);
  assert.equal(stranger.requests.length, 0);
});

test("a request that comes back to the proxy ends there", async () => {
  await using cluster = await startCluster();
  const [proxy] = cluster.proxies;
  await get(`${proxy!.url}/v2/`);
  const via = String(cluster.registry.latest.via);
  const { status } = await get(`${proxy!.url}/v2/`, { headers: { via } });
  assert.equal(status, 508);
});

test("the empty blob needs nobody", async () => {
  await using cluster = await startCluster();
  const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  const { status, headers, body } = await get(cluster.blobUrl(cluster.proxies[0]!, { repository: "a/b", digest }));
  assert.deepEqual([status, headers["content-length"], body.length], [200, "0", 0]);
  assert.equal(cluster.registry.requests.length, 0);
});

test("health, readiness and metrics are on every port", async () => {
  await using cluster = await startCluster();
  const [proxy] = cluster.proxies;
  for (const url of [proxy!.url, `http://127.0.0.1:${proxy!.peerPort}`, cluster.seeder!.url, cluster.tracker.url]) {
    for (const path of ["/healthz", "/readyz", "/metrics"])
      assert.equal((await get(url + path)).status, 200, url + path);
  }
});
