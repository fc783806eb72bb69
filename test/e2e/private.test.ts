/**
 * @module A private blob goes to those only who could get it from the origin (DESIGN.md 8), with a real registry and
 * tokens.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { blobUrl, readBlob } from "../rig/blob-reader.ts";
import { type Cluster, startCluster } from "../rig/cluster.ts";
import { createSkopeo } from "../rig/engines/skopeo.ts";
import { pullBlob } from "../rig/expect-blob.ts";
import { call } from "../rig/http-call.ts";
import { blobsOf, type Descriptor } from "../rig/image.ts";
import { Rig } from "../rig/rig.ts";
import { startTokenServer, type TokenServer } from "../rig/token-server.ts";
import { need } from "../rig/tools.ts";

const skip = need({ tools: ["docker-registry", "openssl", "htpasswd"] });

describe("a registry with tokens", { skip }, () => {
  let rig: Rig;
  let tokens: TokenServer;
  let cluster: Cluster;
  let secret: Descriptor;

  const may = (user: string, name: string, actions = ["pull"]) =>
    tokens.bearer(user, [{ type: "repository", name, actions }]);

  before(async () => {
    rig = await Rig.create();
    tokens = await startTokenServer(rig, {
      users: { alice: "wonder" },
      allow: (user, { name, actions }) =>
        name === "library/public" || user === "alice" ? actions.filter((action) => action === "pull") : [],
    });
    cluster = await startCluster(rig, { proxies: 2, auth: { kind: "token", ...tokens } });
    const push = may("pusher", "library/secret", ["pull", "push"]);
    secret = await cluster.pushBlob("library/secret", 6_000_000, { authorization: push });
  });
  after(() => rig.close());

  const read = (proxy: number, repository: string, { digest }: Descriptor, authorization?: string) =>
    readBlob(blobUrl(cluster.proxy(proxy).url, repository, digest), {
      signal: AbortSignal.timeout(30_000),
      headers: authorization === undefined ? {} : { authorization },
    });

  test("without a token: the origin's own challenge", async () => {
    const refused = await read(0, "library/secret", secret);
    assert.equal(refused.status, 401);
    const challenge = refused.headers["www-authenticate"] ?? "";
    assert.match(challenge, /^Bearer /);
    assert.ok(challenge.includes(tokens.realm.href), challenge);
    assert.ok(challenge.includes("repository:library/secret:pull"), challenge);
  });

  test("with a token: the blob", async () => {
    await pullBlob(cluster.proxy(0), "library/secret", secret, {
      headers: { authorization: may("alice", "library/secret") },
    });
  });

  test("cached or not, nobody else gets it", async () => {
    for (const proxy of [0, 1]) {
      assert.equal((await read(proxy, "library/secret", secret)).status, 401);
      const other = await read(proxy, "library/secret", secret, may("mallory", "library/public"));
      assert.ok([401, 403, 404].includes(other.status), `${other.status}`);
      const forged = await read(proxy, "library/secret", secret, "Bearer not-a-token");
      assert.ok([401, 403].includes(forged.status), `${forged.status}`);
    }
  });

  test("a reader of another repository gets nothing by naming its digest there", async () => {
    const stolen = await read(0, "library/public", secret, may("mallory", "library/public"));
    assert.ok([401, 403, 404].includes(stolen.status), `${stolen.status}`);
    assert.notEqual(stolen.size, secret.size);
  });

  test("peers and seeder do not offer it", async () => {
    for (const place of [cluster.seeder.url, cluster.proxy(0).peerUrl]) {
      for (const suffix of ["", "/pieces", "/metainfo"]) {
        const answer = await call(new URL(`/p2p/v1/blobs/${secret.digest}${suffix}`, place), {
          signal: AbortSignal.timeout(10_000),
        });
        assert.ok([401, 403, 404].includes(answer.status), `${place}${suffix}: ${answer.status}`);
      }
    }
    const torrent = await call(new URL(`/torrents/${secret.digest}.torrent`, cluster.seeder.url));
    assert.ok([401, 403, 404].includes(torrent.status), `${torrent.status}`);
  });

  test("a public image travels from peer to peer", { skip: need({ tools: ["skopeo"] }) }, async () => {
    const push = may("pusher", "library/public", ["pull", "push"]);
    const image = await cluster.pushImage("library/public", [{ size: 300_000 }, { size: 8_000_000 }], push);
    for (const proxy of [0, 1]) {
      const mirrors = [{ registry: "docker.io", mirror: cluster.proxy(proxy).url }];
      const skopeo = await createSkopeo(rig, { name: `skopeo-${proxy}`, mirrors });
      await skopeo.pull("docker.io/library/public:1");
      await skopeo.verify("docker.io/library/public:1", image);
    }
    for (const { digest, size } of blobsOf(image)) {
      assert.ok(cluster.origin.blobBytes(digest) <= size * 1.02, `${digest} was read more than once`);
    }
  });

  test("no token is written to a log", () => {
    for (const part of [cluster.seeder, ...cluster.proxies]) assert.ok(!part.process.output.includes("eyJ"), part.name);
  });
});

test("a registry with passwords: the config's credentials are used", { skip }, async (t) => {
  const rig = await Rig.for(t);
  const cluster = await startCluster(rig, { proxies: 0, auth: { kind: "htpasswd", users: { robot: "s3cret" } } });
  const authorization = `Basic ${Buffer.from("robot:s3cret").toString("base64")}`;
  const blob = await cluster.pushBlob("library/robots", 6_000_000, { authorization });
  const account = { upstream: cluster.origin.url.origin, plainHTTP: true, username: "robot", password: "s3cret" };
  const knowing = await cluster.addProxy({ registries: { "docker.io": account }, origins: [] });
  await pullBlob(knowing, "library/robots", blob);
  const ignorant = await cluster.addProxy();
  const refused = await readBlob(blobUrl(ignorant.url, "library/robots", blob.digest));
  assert.equal(refused.status, 401);
  assert.match(refused.headers["www-authenticate"] ?? "", /^Basic /i);
  await pullBlob(ignorant, "library/robots", blob, { headers: { authorization } });
  for (const part of [cluster.seeder, knowing, ignorant]) assert.ok(!part.process.output.includes("s3cret"), part.name);
});
