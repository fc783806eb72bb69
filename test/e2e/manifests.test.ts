/**
 * @module Manifests of a real registry through proxies: tags that move, a registry that is down, many that ask at once,
 * repositories that not everybody may read.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Cluster, startCluster } from "../rig/cluster.ts";
import type { EagleApp } from "../rig/eagle.ts";
import { createSkopeo } from "../rig/engines/skopeo.ts";
import { type Answer, call } from "../rig/http-call.ts";
import { type PushedImage, pushImage } from "../rig/image.ts";
import { Rig } from "../rig/rig.ts";
import { startTokenServer, type TokenServer } from "../rig/token-server.ts";
import { need } from "../rig/tools.ts";
import { until } from "../rig/until.ts";

const skip = need({ tools: ["docker-registry"] });

const accept = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

interface Ask {
  method?: string;
  authorization?: string;
  repository?: string;
}

function ask(
  proxy: EagleApp,
  reference: string,
  { method = "GET", authorization, repository = "library/app" }: Ask = {},
) {
  return call(new URL(`/v2/${repository}/manifests/${reference}`, proxy.url), {
    method,
    headers: { accept, ...(authorization === undefined ? {} : { authorization }) },
    signal: AbortSignal.timeout(30_000),
  });
}

const digestOf = ({ headers }: Answer) => headers["docker-content-digest"];

/** Requests for manifests that reached the registry. */
const questions = ({ origin }: Cluster) => origin.requests.filter(({ url }) => url.includes("/manifests/"));

/** Moves the tag `1` of library/app. */
function push({ registry }: Cluster, seed: string): Promise<PushedImage> {
  return pushImage({ registry: registry.url, repository: "library/app" }, { layers: [{ size: 1000 }], seed });
}

test("a tag that moved is seen at the next resolve", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 2 });
  const alone = await cluster.addProxy({ seeders: [] });
  for (const seed of ["first", "second", "third"]) {
    const { manifest } = await push(cluster, seed);
    assert.equal(digestOf(await ask(alone, "1")), manifest.digest, "at once, where no seeder is between");
    // The seeder's word holds for a second.
    for (const proxy of cluster.proxies) {
      await until(async () => digestOf(await ask(proxy, "1", { method: "HEAD" })) === manifest.digest, {
        what: `${proxy.name} to see the tag move`,
        timeoutMs: 5000,
      });
      const { status, body } = await ask(proxy, "1");
      assert.ok(status === 200 && body.length === manifest.size);
    }
  }
});

test("the registry is down: tags as they were, with a Warning, also after kill -9; digests as ever", {
  skip,
}, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 1 });
  const { manifest } = await push(cluster, "kept");
  const proxy = cluster.proxy();
  const fresh = await ask(proxy, "1");
  assert.deepEqual([fresh.status, fresh.headers.warning], [200, undefined]);
  assert.equal((await ask(proxy, manifest.digest)).status, 200);
  await cluster.origin.down();
  for (const round of ["running", "restarted", "without a seeder"]) {
    if (round === "restarted") {
      // Files are written behind the answer.
      await sleep(500);
      await proxy.kill();
      await proxy.start();
    }
    if (round === "without a seeder") await cluster.seeder.kill();
    // What the registry said a moment ago still holds for a second.
    const stale = await until(async () => [await ask(proxy, "1")].find(({ headers }) => headers.warning), {
      what: `a Warning (${round})`,
      timeoutMs: 5000,
    });
    assert.deepEqual([stale.status, digestOf(stale)], [200, manifest.digest], round);
    assert.ok(stale.body.equals(fresh.body));
    assert.match(String(stale.headers.warning), /^110 .*111 /);
    const immutable = await ask(proxy, manifest.digest);
    assert.deepEqual([immutable.status, immutable.headers.warning], [200, undefined], round);
    assert.ok((await ask(proxy, "never-seen")).status >= 500);
  }
  await cluster.origin.up();
  const moved = await push(cluster, "moved");
  await until(async () => digestOf(await ask(proxy, "1")) === moved.manifest.digest, { what: "the new tag" });
  assert.equal((await ask(proxy, "1")).headers.warning, undefined);
  await call(new URL(`/v2/library/app/manifests/${moved.manifest.digest}`, cluster.registry.url), { method: "DELETE" });
  await until(async () => (await ask(proxy, "1")).status === 404, { what: "the deletion", timeoutMs: 5000 });
});

test("a seeder that is mute costs a moment, no pull", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 1 });
  const { manifest } = await push(cluster, "mute");
  cluster.seeder.freeze();
  try {
    for (const reference of ["1", manifest.digest, "1"]) {
      const answer = await ask(cluster.proxy(), reference);
      assert.deepEqual([answer.status, digestOf(answer)], [200, manifest.digest]);
    }
  } finally {
    cluster.seeder.thaw();
  }
});

test("two hundred that resolve one tag at four proxies are few questions", { skip }, async (t) => {
  const cluster = await startCluster(await Rig.for(t), { proxies: 4 });
  const { manifest } = await push(cluster, "many");
  const before = questions(cluster).length;
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) => {
      const reference = i % 4 === 3 ? manifest.digest : "1";
      return ask(cluster.proxy(i % 4), reference, { method: i % 2 ? "GET" : "HEAD" });
    }),
  );
  for (const answer of answers) assert.deepEqual([answer.status, digestOf(answer)], [200, manifest.digest]);
  const asked = questions(cluster).slice(before);
  t.diagnostic(`${asked.length} questions: ${asked.map(({ method, url }) => `${method} ${url}`).join(", ")}`);
  assert.ok(asked.length <= 12, `${asked.length}`);
  const gets = asked.filter(({ method }) => method === "GET").length;
  assert.ok(gets <= 4, `${gets} reads`);
});

test("skopeo with the registry in the location, and no default registry", {
  skip: skip || need({ tools: ["skopeo"] }),
}, async (t) => {
  const rig = await Rig.for(t);
  const cluster = await startCluster(rig, { proxies: 0 });
  const image = await push(cluster, "prefix");
  const proxy = await cluster.addProxy({ origin: undefined, origins: ["docker.io"] });
  const skopeo = await createSkopeo(rig, {
    mirrors: [{ registry: "docker.io", mirror: new URL("/docker.io", proxy.url) }],
  });
  await skopeo.pull("docker.io/library/app:1");
  await skopeo.verify("docker.io/library/app:1", image);
});

describe("a registry with tokens", { skip: skip || need({ tools: ["openssl"] }) }, () => {
  let rig: Rig;
  let tokens: TokenServer;
  let cluster: Cluster;
  let secret: PushedImage;
  const repository = "team/secret";
  const may = (user: string, name: string, actions = ["pull"]) =>
    tokens.bearer(user, [{ type: "repository", name, actions }]);

  before(async () => {
    rig = await Rig.create();
    tokens = await startTokenServer(rig, {
      users: {},
      allow: (_, { name, actions }) => (name === "library/public" ? actions.filter((action) => action === "pull") : []),
    });
    cluster = await startCluster(rig, { proxies: 2, auth: { kind: "token", ...tokens } });
    secret = await pushImage(
      { registry: cluster.registry.url, repository, authorization: may("pusher", repository, ["pull", "push"]) },
      { layers: [{ size: 1000 }], seed: "secret" },
    );
  });
  after(() => rig.close());

  test("who may not: the registry's own challenge; who may: the manifest; nobody profits from that", async () => {
    const authorization = may("alice", repository);
    for (const reference of ["1", secret.manifest.digest]) {
      for (const proxy of cluster.proxies) {
        const refused = await ask(proxy, reference, { repository });
        assert.equal(refused.status, 401);
        assert.ok(String(refused.headers["www-authenticate"]).includes(`repository:${repository}:pull`));
        const granted = await ask(proxy, reference, { repository, authorization });
        assert.deepEqual([granted.status, digestOf(granted)], [200, secret.manifest.digest]);
      }
      for (const proxy of cluster.proxies) {
        for (const other of [undefined, may("mallory", "library/public"), "Bearer forged"]) {
          const { status } = await ask(proxy, reference, { repository, ...(other ? { authorization: other } : {}) });
          assert.ok([401, 403].includes(status), `${status}`);
        }
      }
    }
    const elsewhere = await ask(cluster.proxy(), secret.manifest.digest, { repository: "library/public" });
    assert.ok([401, 403, 404].includes(elsewhere.status), `${elsewhere.status}`);
  });

  test("the registry down: still his, still nobody else's", async () => {
    const authorization = may("alice", repository);
    assert.equal((await ask(cluster.proxy(), "1", { repository, authorization })).status, 200);
    await cluster.origin.down();
    const stale = await ask(cluster.proxy(), "1", { repository, authorization });
    assert.deepEqual([stale.status, digestOf(stale)], [200, secret.manifest.digest]);
    assert.ok(stale.headers.warning);
    for (const reference of ["1", secret.manifest.digest])
      assert.ok((await ask(cluster.proxy(), reference, { repository })).status >= 400);
    await cluster.origin.up();
  });

  test("a seeder speaks of it to nobody", async () => {
    const url = new URL("/eagle/v1/manifests", cluster.seeder.url);
    url.searchParams.set("url", new URL(`/v2/${repository}/manifests/1`, cluster.origin.url).href);
    const told = async () => (await call(url, { headers: { accept, authorization: may("alice", repository) } })).status;
    // The registry, which was down, is left alone for two seconds.
    await until(async () => [401, 403, 404].includes(await told()), { what: "a refusal", timeoutMs: 5000 });
  });
});
