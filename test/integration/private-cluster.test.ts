/** @module Private blobs between the parts of one cluster, which know each other by a secret or by certificates. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { receivedBySource } from "../../apps/eagle/pull/received.ts";
import { decodeBencode } from "../../lib/bencode/bencode.ts";
import { decodeMetainfo } from "../../lib/bt/metainfo.ts";
import { ClusterAuth } from "../../lib/cluster/cluster-auth.ts";
import { ClusterHttp } from "../../lib/cluster/cluster-http.ts";
import { clusterCa, partCertificate } from "../../lib/cluster/testing/certificates.ts";
import { HttpClient } from "../../lib/http/client.ts";
import { readBytes } from "../../lib/http/read-bytes.ts";
import { MetaInfoClient } from "../../lib/rpc/client.ts";
import { MetaInfoError } from "../../lib/rpc/errors.ts";
import { type Cluster, type ClusterInit, randomBytes, startCluster, until } from "./cluster.ts";
import { get } from "./http-get.ts";
import type { StoredBlob } from "./registry.ts";

const MiB = 1024 * 1024;
const secret = "a secret of this cluster";
const right = `Basic ${Buffer.from("user:right").toString("base64")}`;
const headers = { authorization: right };

async function withCluster(init: ClusterInit, run: (cluster: Cluster, blob: StoredBlob) => Promise<void>) {
  const cluster = await startCluster(init);
  try {
    const blob = cluster.registry.put(randomBytes(9 * MiB, 81), { repository: "team/secret", authorization: right });
    await run(cluster, blob);
  } finally {
    await cluster[Symbol.asyncDispose]();
  }
}

/** How often the registry sent the blob, in whatever parts. */
const reads = ({ registry }: Cluster, blob: StoredBlob) => registry.sent / blob.bytes.length;

async function pull(cluster: Cluster, index: number, blob: StoredBlob): Promise<string> {
  const answer = await get(cluster.blobUrl(cluster.proxies[index]!, blob), { headers });
  assert.ok(answer.whole && answer.body.equals(blob.bytes), `proxy ${index}: ${answer.status}`);
  return String(answer.headers["x-eagle-source"]);
}

async function bytesIn(cluster: Cluster, index: number, source: string): Promise<number> {
  return (await receivedBySource(cluster.proxies[index]!.metrics))[source] ?? 0;
}

/** Every way to a blob that is not the engine's port, without any right. */
async function assertClosed(cluster: Cluster, digest: string, extra: Record<string, string> = {}): Promise<void> {
  const places = [cluster.seeder!.url, ...cluster.proxies.map(({ peerPort }) => `http://127.0.0.1:${peerPort}`)];
  for (const place of places) {
    const blob = `${place}/p2p/v1/blobs/${digest}`;
    for (const url of [blob, `${blob}/pieces`, `${blob}/metainfo`, `${blob}?eagle-token=1.${"0".repeat(64)}`]) {
      assert.equal((await get(url, { headers: extra })).status, 404, url);
      assert.equal((await get(url, { method: "HEAD", headers: extra })).status, 404, url);
    }
    assert.equal((await get(blob, { headers: { ...extra, range: "bytes=0-524287" } })).status, 404);
    const next = { method: "POST", headers: { ...extra, "content-length": "0" } };
    assert.equal((await get(`${blob}/next`, next)).status, 404);
  }
  assert.equal((await get(`${cluster.seeder!.url}/torrents/${digest}.torrent`, { headers: extra })).status, 404);
}

test("with the secret a private blob is read from the registry once and travels between hosts", async () => {
  await withCluster({ proxies: 3, cluster: { secret } }, async (cluster, blob) => {
    await pull(cluster, 0, blob);
    await pull(cluster, 1, blob);
    await pull(cluster, 2, blob);
    assert.equal(reads(cluster, blob), 1);
    for (const index of [0, 1, 2]) assert.equal(await bytesIn(cluster, index, "origin"), 0);
    const fromPeers = (await bytesIn(cluster, 1, "peer")) + (await bytesIn(cluster, 2, "peer"));
    assert.ok(fromPeers > 0, "peers, not the seeder alone");
    // What a host holds does not change who may have it.
    for (const { url } of cluster.proxies) {
      assert.equal((await get(`${url}/v2/team/secret/blobs/${blob.digest}`)).status, 401);
      const elsewhere = `${url}/v2/library/app/blobs/${blob.digest}`;
      assert.equal((await get(elsewhere, { headers })).status, 404);
    }
    await assertClosed(cluster, blob.digest);
    await assertClosed(cluster, blob.digest, headers);
    await assertClosed(cluster, blob.digest, {
      authorization: `Eagle ${Math.floor(Date.now() / 1000)}.${"0".repeat(64)}`,
    });
    await assertClosed(cluster, blob.digest, { authorization: `Eagle ${secret}` });
  });
});

test("without the secret nothing private leaves a host, and no credentials reach the seeder", async () => {
  await withCluster({ proxies: 2 }, async (cluster, blob) => {
    await pull(cluster, 0, blob);
    await pull(cluster, 1, blob);
    for (const index of [0, 1]) assert.equal(await bytesIn(cluster, index, "origin"), blob.bytes.length);
    await assertClosed(cluster, blob.digest);
    const client = new MetaInfoClient({ seeders: [new URL(cluster.seeder!.url)] });
    const url = `${cluster.registry.url}/v2/team/secret/blobs/${blob.digest}`;
    const denied = (error: unknown) => error instanceof MetaInfoError && error.code === "permission_denied";
    await assert.rejects(client.getMetaInfo({ url, authorization: right }), denied);
    await client.close();
  });
});

test("a host with another secret, or none, is a stranger: it pulls past the cluster", async () => {
  await withCluster({ proxies: 1, cluster: { secret } }, async (cluster, blob) => {
    await pull(cluster, 0, blob);
    for (const section of [{}, { secret: "some other secret" }]) {
      const index = cluster.proxies.length;
      await cluster.addProxy(index, { cluster: section });
      await pull(cluster, index, blob);
      assert.equal(await bytesIn(cluster, index, "origin"), blob.bytes.length);
    }
  });
});

test("the secret is changed while everything runs", async () => {
  const next = "the next secret of all";
  await withCluster({ proxies: 1, cluster: { secret, previousSecret: next } }, async (cluster, blob) => {
    await pull(cluster, 0, blob);
    await cluster.addProxy(1, { cluster: { secret: next, previousSecret: secret } });
    await pull(cluster, 1, blob);
    assert.equal(await bytesIn(cluster, 1, "origin"), 0);
    assert.equal(reads(cluster, blob), 1);
  });
});

test("the seeder asked by a stranger says what the registry says to strangers", async () => {
  await withCluster({ proxies: 1, cluster: { secret } }, async (cluster, blob) => {
    await pull(cluster, 0, blob);
    const url = `${cluster.registry.url}/v2/team/secret/blobs/${blob.digest}`;
    const seeders = [new URL(cluster.seeder!.url)];
    const stranger = new MetaInfoClient({ seeders });
    const part = new MetaInfoClient({ seeders, cluster: new ClusterAuth({ secret }) });
    const is = (code: string) => (error: unknown) => error instanceof MetaInfoError && error.code === code;
    try {
      await assert.rejects(stranger.getMetaInfo({ url }), (error: unknown) => {
        return is("unauthenticated")(error) && (error as MetaInfoError).challenge === 'Basic realm="test"';
      });
      await assert.rejects(stranger.getMetaInfo({ url, authorization: right }), is("permission_denied"));
      await assert.rejects(part.getMetaInfo({ url, asPart: false }), is("unauthenticated"));
      const other = `${cluster.registry.url}/v2/library/app/blobs/${blob.digest}`;
      await assert.rejects(stranger.getMetaInfo({ url: other }), is("not_found"));
      const metainfo = decodeMetainfo(await part.getMetaInfo({ url }));
      assert.equal(metainfo.announce, undefined, "no standard swarm has it");
      // Public in another repository: then it is anybody's.
      cluster.registry.put(blob.bytes, { repository: "library/app" });
      await stranger.getMetaInfo({ url: other });
      assert.equal((await get(`${cluster.seeder!.url}/p2p/v1/blobs/${blob.digest}`)).status, 200);
    } finally {
      await stranger.close();
      await part.close();
    }
  });
});

test("a part gets the torrent of a private blob, whose web seed a standard client can read", async () => {
  await withCluster({ proxies: 1, cluster: { secret } }, async (cluster, blob) => {
    await pull(cluster, 0, blob);
    const http = new HttpClient();
    try {
      const torrent = new URL(`/torrents/${blob.digest}.torrent`, cluster.seeder!.url);
      const answer = await new ClusterHttp(http, new ClusterAuth({ secret })).request(torrent);
      assert.equal(answer.status, 200);
      const top = decodeBencode(await readBytes(answer.body, MiB));
      assert.ok(top instanceof Map && !top.has("announce"));
      const [link] = top.get("url-list") as Uint8Array[];
      const webSeed = new URL(Buffer.from(link!).toString());
      const seeded = await get(webSeed.href, { headers: { range: "bytes=100-199" } });
      assert.equal(seeded.status, 206);
      assert.ok(seeded.body.equals(blob.bytes.subarray(100, 200)));
      // Good for this blob's bytes, and for nothing else.
      for (const path of [`${webSeed.pathname}/pieces`, `${webSeed.pathname}/metainfo`])
        assert.equal((await get(webSeed.origin + path + webSeed.search)).status, 404);
      const second = cluster.registry.put(randomBytes(2 * MiB, 82), {
        repository: "team/secret",
        authorization: right,
      });
      await pull(cluster, 0, second);
      const other = `${webSeed.origin}/p2p/v1/blobs/${second.digest}${webSeed.search}`;
      assert.equal((await get(other)).status, 404);
    } finally {
      await http.close();
    }
  });
});

test("while the registry is down a stranger's question brings nothing private to light", async () => {
  await withCluster({ proxies: 2, cluster: { secret } }, async (cluster, blob) => {
    await pull(cluster, 0, blob);
    await cluster.registry.close();
    // This proxy never asked the registry: it may have what anyone may have, and this is not.
    const url = cluster.blobUrl(cluster.proxies[1]!, blob);
    for (const init of [{}, { headers }]) assert.equal((await get(url, init)).status, 502);
    await pull(cluster, 0, blob);
  });
});

test("the operator's credentials at the seeder serve parts, and strangers still get nothing", async () => {
  await withCluster({ proxies: 0, cluster: { secret } }, async (cluster, blob) => {
    const registries = { [cluster.registry.authority]: { username: "user", password: "right" } };
    const inner = await startCluster({
      cluster: { secret },
      proxyCfg: { origin: cluster.registry.url },
      seederCfg: { origin: cluster.registry.url },
      registries,
    });
    try {
      const answer = await get(inner.blobUrl(inner.proxies[0]!, blob));
      assert.ok(answer.whole && answer.body.equals(blob.bytes));
      assert.equal(await bytesIn(inner, 0, "origin"), 0, "the seeder read it");
      await assertClosed(inner, blob.digest);
    } finally {
      await inner[Symbol.asyncDispose]();
    }
  });
});

test("certificates alone: all ports speak TLS, parts share what is private, strangers get nothing", async () => {
  const directory = await mkdtemp(join(tmpdir(), "eagle-tls-"));
  try {
    const file = async (name: string, content: string) => {
      await writeFile(join(directory, name), content);
      return join(directory, name);
    };
    const section = {
      ca: await file("ca.pem", clusterCa),
      certFile: await file("part.pem", partCertificate.cert),
      keyFile: await file("part.key", partCertificate.key),
    };
    await withCluster({ proxies: 2, cluster: section }, async (cluster, blob) => {
      assert.match(cluster.seeder!.url, /^https:/);
      assert.match(cluster.tracker.url, /^https:/);
      await pull(cluster, 0, blob);
      // The tracker has to know of the first host, or the seeder gives everything.
      await pull(cluster, 1, blob);
      assert.equal(reads(cluster, blob), 1);
      for (const index of [0, 1]) assert.equal(await bytesIn(cluster, index, "origin"), 0);
      const http = new HttpClient();
      const ask = async (cluster: ClusterAuth, url: string) => {
        const { status, body } = await new ClusterHttp(http, cluster).request(new URL(url));
        body.destroy();
        return status;
      };
      const part = new ClusterAuth({ tls: { ca: clusterCa, own: partCertificate } });
      const stranger = new ClusterAuth({ tls: { ca: clusterCa } });
      for (const place of [cluster.seeder!.url, `https://127.0.0.1:${cluster.proxies[0]!.peerPort}`]) {
        const url = `${place}/p2p/v1/blobs/${blob.digest}`;
        assert.equal(await ask(stranger, url), 404);
        assert.equal(await ask(part, url), 200);
        assert.equal(await ask(stranger, `${place}/healthz`), 200);
      }
      await http.close();
    });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

test("private blobs that are held are found by hosts that come later", async () => {
  await withCluster({ proxies: 1, cluster: { secret } }, async (cluster, blob) => {
    await pull(cluster, 0, blob);
    await cluster.seeder!.close();
    let seen = false;
    await until(async () => {
      const index = seen ? cluster.proxies.length : 1;
      seen = true;
      await cluster.addProxy(index);
      await pull(cluster, index, blob);
      return (await bytesIn(cluster, index, "peer")) === blob.bytes.length;
    });
  });
});
