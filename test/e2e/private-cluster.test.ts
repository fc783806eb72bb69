/**
 * @module A cluster with a secret, as processes, before a real registry with tokens: a private image is read from the
 * registry once, travels between hosts, and goes to nobody who could not get it from the registry.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ClusterAuth } from "../../lib/cluster/cluster-auth.ts";
import { blobUrl, readBlob } from "../rig/blob-reader.ts";
import { type Cluster, startCluster } from "../rig/cluster.ts";
import { createSkopeo } from "../rig/engines/skopeo.ts";
import { pullBlob } from "../rig/expect-blob.ts";
import { call } from "../rig/http-call.ts";
import { blobsOf, type Descriptor, type PushedImage } from "../rig/image.ts";
import { Rig } from "../rig/rig.ts";
import { isCommitted } from "../rig/stored-blobs.ts";
import { startTokenServer, type TokenServer } from "../rig/token-server.ts";
import { need } from "../rig/tools.ts";
import { until } from "../rig/until.ts";

const skip = need({ tools: ["docker-registry", "openssl"] });
const secret = "a secret of the cluster, for a test";

describe("a cluster with a secret before a registry with tokens", { skip }, () => {
  let rig: Rig;
  let tokens: TokenServer;
  let cluster: Cluster;
  let blob: Descriptor;

  const may = (user: string, name: string, actions = ["pull"]) =>
    tokens.bearer(user, [{ type: "repository", name, actions }]);
  const alice = () => may("alice", "library/secret");

  before(async () => {
    rig = await Rig.create();
    tokens = await startTokenServer(rig, {
      users: { alice: "wonder" },
      allow: (user, { actions }) => (user === "alice" ? actions.filter((action) => action === "pull") : []),
    });
    const config = { cluster: { secret } };
    const configs = { trackerConfig: config, seederConfig: config, proxyConfig: config };
    cluster = await startCluster(rig, { proxies: 3, auth: { kind: "token", ...tokens }, ...configs });
    const push = may("pusher", "library/secret", ["pull", "push"]);
    blob = await cluster.pushBlob("library/secret", 12_000_000, { authorization: push });
  });
  after(() => rig.close());

  const read = (proxy: number, repository: string, authorization?: string) =>
    readBlob(blobUrl(cluster.proxy(proxy).url, repository, blob.digest), {
      signal: AbortSignal.timeout(30_000),
      headers: authorization === undefined ? {} : { authorization },
    });

  test("one read of the registry for three hosts", async () => {
    const headers = { authorization: alice() };
    await Promise.all([0, 1, 2].map((index) => pullBlob(cluster.proxy(index), "library/secret", blob, { headers })));
    assert.ok(cluster.origin.blobBytes(blob.digest) <= blob.size * 1.02, `${cluster.origin.blobBytes(blob.digest)}`);
    for (const proxy of cluster.proxies) {
      assert.equal(await proxy.bytes({ source: "origin", direction: "in" }), 0);
      await until(() => isCommitted(proxy, blob.digest), { what: `${proxy.name} to commit` });
    }
  });

  test("in the cache: what the registry would say to each caller", async () => {
    const direct = async (repository: string, authorization?: string) => {
      const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
      const url = new URL(`/v2/${repository}/blobs/${blob.digest}`, cluster.registry.url);
      return (await call(url, { method: "HEAD", headers })).status;
    };
    const cases: [string, string | undefined][] = [
      ["library/secret", undefined],
      ["library/secret", "Bearer not-a-token"],
      ["library/secret", may("mallory", "library/mine")],
      ["library/mine", may("mallory", "library/mine")],
      ["library/mine", alice()],
    ];
    for (const [repository, authorization] of cases) {
      for (const proxy of [0, 1, 2]) {
        const answer = await read(proxy, repository, authorization);
        assert.equal(answer.status, await direct(repository, authorization), `${repository} ${authorization}`);
        assert.ok(answer.size < 2000);
      }
    }
  });

  test("in the cache: one HEAD for right credentials that come anew", async () => {
    const seen = () => cluster.origin.requests.filter(({ url }) => url.includes(blob.digest));
    const before = seen().length;
    // A token of its own: nobody was asked about it before.
    const headers = { authorization: may("alice", "library/secret") };
    for (let round = 0; round < 3; round++) {
      const { headers: answered } = await pullBlob(cluster.proxy(0), "library/secret", blob, { headers });
      assert.equal(answered["x-eagle-source"], "cache");
    }
    assert.deepEqual(
      seen()
        .slice(before)
        .map(({ method }) => method),
      ["HEAD"],
    );
  });

  test("no port for others gives it to a stranger, and each does to a part", async () => {
    const auth = new ClusterAuth({ secret });
    for (const place of [cluster.seeder.url, ...cluster.proxies.map(({ peerUrl }) => peerUrl)]) {
      const url = new URL(`/p2p/v1/blobs/${blob.digest}`, place);
      const strangers: Record<string, string>[] = [
        {},
        { authorization: alice() },
        { authorization: `Eagle ${secret}` },
      ];
      for (const headers of strangers) {
        for (const suffix of ["", "/pieces", "/metainfo"]) {
          const answer = await call(new URL(url + suffix), { headers, signal: AbortSignal.timeout(10_000) });
          assert.equal(answer.status, 404, `${url}${suffix}`);
        }
      }
      const part = await call(url, { method: "HEAD", headers: auth.headers("HEAD", url) });
      assert.equal(part.status, 200, `${url}`);
    }
    const torrent = new URL(`/torrents/${blob.digest}.torrent`, cluster.seeder.url);
    assert.equal((await call(torrent)).status, 404);
    assert.equal((await call(torrent, { headers: auth.headers("GET", torrent) })).status, 200);
  });

  test("after kill -9 and a restart it is private as before", async () => {
    const proxy = cluster.proxy(1);
    await proxy.kill();
    await proxy.start();
    assert.equal((await call(new URL(`/p2p/v1/blobs/${blob.digest}`, proxy.peerUrl))).status, 404);
    assert.equal((await read(1, "library/secret")).status, 401);
    const headers = { authorization: alice() };
    const { headers: answered } = await pullBlob(proxy, "library/secret", blob, { headers });
    assert.equal(answered["x-eagle-source"], "cache");
  });

  test("skopeo pulls a private image on each host: the registry's layers are read once", {
    skip: need({ tools: ["skopeo"] }),
  }, async () => {
    const push = may("pusher", "library/app", ["pull", "push"]);
    const image: PushedImage = await cluster.pushImage("library/app", [{ size: 9_000_000 }, { size: 300_000 }], push);
    // skopeo sends mirrors no credentials: the operator's stand in, at the proxies and at the seeder.
    const account = { username: "alice", password: "wonder", plainHTTP: true, upstream: cluster.origin.url.origin };
    const registries = { "docker.io": account };
    const seeder = await cluster.addSeeder({ registries, origins: [] });
    for (const index of [0, 1]) {
      const proxy = await cluster.addProxy({ registries, origins: [], seeders: [seeder.url] });
      const mirrors = [{ registry: "docker.io", mirror: proxy.url }];
      const skopeo = await createSkopeo(rig, { name: `skopeo-${index}`, mirrors });
      await skopeo.pull("docker.io/library/app:1");
      await skopeo.verify("docker.io/library/app:1", image);
      for (const { digest } of blobsOf(image)) {
        assert.equal((await call(new URL(`/p2p/v1/blobs/${digest}`, proxy.peerUrl))).status, 404);
      }
    }
    for (const { digest, size } of blobsOf(image)) {
      assert.ok(cluster.origin.blobBytes(digest) <= size * 1.02, `${digest} was read more than once`);
    }
  });

  test("neither the secret nor a token is written to a log", () => {
    for (const part of [cluster.tracker, ...cluster.seeders, ...cluster.proxies]) {
      const { output } = part.process;
      for (const word of ["eyJ", "wonder", secret]) assert.ok(!output.includes(word), `${part.name}: ${word}`);
    }
  });
});
