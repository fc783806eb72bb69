/** @module Manifests at the proxy: cached, verified, revalidated, shared by way of the seeder, private to who may. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import type { RunningProxy } from "../../apps/proxy/cmd/proxy.ts";
import { HttpClient } from "../../lib/http/client.ts";
import { parseAccept } from "../../lib/manifests/accept.ts";
import { SeederManifests } from "../../lib/manifests/seeder-manifests.ts";
import {
  DOCKER_MANIFEST,
  type FakeDistribution,
  fakeDistribution,
  OCI_INDEX,
  OCI_MANIFEST,
} from "../../lib/registry/testing/fake-distribution.ts";
import { Upstreams } from "../../lib/registry/upstreams.ts";
import { type Cluster, type ClusterInit, startCluster } from "./cluster.ts";
import { type Answer, get } from "./http-get.ts";

const ANY = `${OCI_INDEX}, ${OCI_MANIFEST}, ${DOCKER_MANIFEST}`;

interface World extends AsyncDisposable {
  readonly origin: FakeDistribution;
  readonly cluster: Cluster;
  readonly proxy: RunningProxy;
  /** Asks a proxy for a manifest. */
  ask(reference: string, init?: AskInit): Promise<Answer>;
}

interface AskInit {
  proxy?: RunningProxy;
  repository?: string;
  method?: string;
  accept?: string | undefined;
  authorization?: string;
  headers?: Record<string, string>;
}

async function world(init: ClusterInit = {}): Promise<World> {
  await using cleanup = new AsyncDisposableStack();
  const origin = cleanup.use(await fakeDistribution());
  const cluster = cleanup.use(
    await startCluster({
      ...init,
      proxyCfg: { origin: origin.url, ...init.proxyCfg },
      seederCfg: { origin: origin.url, ...init.seederCfg },
    }),
  );
  const [proxy] = cluster.proxies;
  const stack = cleanup.move();
  return {
    origin,
    cluster,
    proxy: proxy!,
    ask: (reference, { proxy: at = cluster.proxies[0]!, repository = "library/app", ...how } = {}) => {
      const accept = "accept" in how ? how.accept : ANY;
      return get(`${at.url}/v2/${repository}/manifests/${reference}`, {
        method: how.method ?? "GET",
        headers: {
          ...(accept === undefined ? {} : { accept }),
          ...(how.authorization === undefined ? {} : { authorization: how.authorization }),
          ...how.headers,
        },
      });
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const image = (n: number) => ({ schemaVersion: 2, mediaType: OCI_MANIFEST, n, config: {}, layers: [] });
const reads = (origin: FakeDistribution, method: string) =>
  origin.requests.filter((request) => request.startsWith(`${method} `) && request.includes("/manifests/")).length;

for (const seeder of [false, true]) {
  const where = seeder ? "by way of the seeder" : "without a seeder";

  test(`by digest: read once, then from the cache, whole headers (${where})`, async () => {
    await using w = await world({ seeder });
    const { digest, bytes } = w.origin.manifest("library/app", image(1));
    for (let round = 0; round < 5; round++) {
      const { status, headers, body } = await w.ask(digest);
      assert.equal(status, 200);
      assert.ok(body.equals(bytes));
      assert.equal(headers["content-type"], OCI_MANIFEST);
      assert.equal(headers["docker-content-digest"], digest);
      assert.equal(headers.etag, `"${digest}"`);
      assert.equal(headers["x-eagle-source"], round > 0 ? "cache" : seeder ? "seeder" : "origin");
      assert.equal(headers.warning, undefined);
    }
    assert.equal(reads(w.origin, "GET"), 1);
    const head = await w.ask(digest, { method: "HEAD" });
    assert.deepEqual([head.status, head.headers["content-length"], head.body.length], [200, `${bytes.length}`, 0]);
    assert.equal((await w.ask(digest, { headers: { "if-none-match": `"${digest}"` } })).status, 304);
  });

  test(`sha512 and an index in an index (${where})`, async () => {
    await using w = await world({ seeder });
    const inner = w.origin.manifest("library/app", image(1), { algorithm: "sha512" });
    const list = (digest: string, mediaType: string) => ({
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: [{ digest, mediaType, size: 1 }],
    });
    const middle = w.origin.manifest("library/app", list(inner.digest, OCI_MANIFEST), { mediaType: OCI_INDEX });
    const outer = w.origin.manifest("library/app", list(middle.digest, OCI_INDEX), { mediaType: OCI_INDEX, tag: "1" });
    for (const [reference, wanted] of [
      ["1", outer],
      [middle.digest, middle],
      [inner.digest, inner],
    ] as const) {
      const { status, body, headers } = await w.ask(reference);
      assert.ok(status === 200 && body.equals(wanted.bytes), reference);
      assert.equal(headers["docker-content-digest"], wanted.digest);
    }
  });

  test(`bytes that are not the digest's are never served, nor kept (${where})`, async () => {
    await using w = await world({ seeder });
    const { digest, bytes } = w.origin.manifest("library/app", image(1), { tag: "1" });
    w.origin.manners.corrupt = true;
    for (const reference of [digest, "1"]) {
      const { status, body } = await w.ask(reference);
      assert.equal(status, 502, reference);
      assert.ok(!body.includes("schemaVersion"));
    }
    w.origin.manners.corrupt = false;
    for (const reference of [digest, "1"]) assert.ok((await w.ask(reference)).body.equals(bytes));
  });

  test(`a tag that moves is seen at the next resolve (${where})`, async () => {
    await using w = await world({ seeder, seederCfg: { tagTTL: 0 } });
    for (let n = 1; n <= 3; n++) {
      const moved = w.origin.manifest("library/app", image(n), { tag: "latest" });
      for (const method of ["HEAD", "GET", "GET"]) {
        const { status, headers, body } = await w.ask("latest", { method });
        assert.equal(status, 200);
        assert.equal(headers["docker-content-digest"], moved.digest);
        if (method === "GET") assert.ok(body.equals(moved.bytes));
      }
    }
    assert.ok(reads(w.origin, "GET") <= 3, "what did not change is not read again");
  });

  test(`a registry that is down: the tag as it last was, with a Warning; what it refuses is refused (${where})`, async () => {
    await using w = await world({ seeder, seederCfg: { tagTTL: 0 } });
    const { bytes, digest } = w.origin.manifest("library/app", image(1), { tag: "1" });
    await w.ask("1");
    for (const trouble of ["5xx", "no connection"]) {
      if (trouble === "5xx") w.origin.manners.status = 503;
      else await w.origin.down();
      const { status, headers, body } = await w.ask("1");
      assert.equal(status, 200, trouble);
      assert.ok(body.equals(bytes));
      assert.match(String(headers.warning), /^110 .*111 /);
      assert.equal((await w.ask("1", { method: "HEAD" })).headers.warning, headers.warning);
      const immutable = await w.ask(digest);
      assert.ok(immutable.status === 200 && immutable.headers.warning === undefined);
      assert.ok((await w.ask("unknown")).status >= 500, trouble);
    }
    await w.origin.up();
    w.origin.manners.status = undefined;
    await new Promise((resolve) => setTimeout(resolve, 2100));
    assert.equal((await w.ask("1")).headers.warning, undefined);
    for (const status of [401, 403, 404]) {
      w.origin.manners.status = status;
      assert.equal((await w.ask("1")).status, status);
    }
  });

  test(`no client gets a type that it did not ask for (${where})`, async () => {
    await using w = await world({ seeder, seederCfg: { tagTTL: 60 } });
    const { digest } = w.origin.manifest("library/app", { manifests: [] }, { mediaType: OCI_INDEX, tag: "1" });
    for (const reference of ["1", digest]) {
      assert.equal((await w.ask(reference)).status, 200);
      assert.equal((await w.ask(reference, { accept: OCI_MANIFEST })).status, 404, "the registry's own answer");
      assert.equal((await w.ask(reference, { accept: "*/*" })).status, 200);
      assert.equal((await w.ask(reference, { accept: undefined })).status, 200);
    }
  });
}

test("a restart of the proxy keeps manifests and tags for when the registry is down", async () => {
  await using w = await world({ seeder: false });
  const { digest, bytes } = w.origin.manifest("library/app", image(1), { tag: "1" });
  await w.ask("1");
  await w.proxy.close();
  await w.origin.down();
  await w.cluster.addProxy(0);
  assert.ok((await w.ask(digest)).body.equals(bytes));
  const stale = await w.ask("1");
  assert.ok(stale.body.equals(bytes) && stale.headers.warning);
});

test("staleTags: false", async () => {
  await using w = await world({ seeder: false, proxyCfg: { staleTags: false } });
  const { digest } = w.origin.manifest("library/app", image(1), { tag: "1" });
  await w.ask("1");
  await w.origin.down();
  assert.equal((await w.ask("1")).status, 502);
  assert.equal((await w.ask(digest)).status, 200, "a digest is never stale");
});

test("many that resolve one tag through many proxies are few questions to the registry", async () => {
  await using w = await world({ proxies: 4 });
  const { digest, bytes } = w.origin.manifest("library/app", image(1), { tag: "1" });
  w.origin.manners.delayMs = 20;
  const all = await Promise.all(
    Array.from({ length: 200 }, (_, i) =>
      w.ask(i % 3 === 0 ? digest : "1", { proxy: w.cluster.proxies[i % 4]!, method: i % 2 ? "GET" : "HEAD" }),
    ),
  );
  for (const { status, headers, body } of all) {
    assert.equal(status, 200);
    assert.equal(headers["docker-content-digest"], digest);
    assert.ok(body.length === 0 || body.equals(bytes));
  }
  assert.ok(w.origin.requests.length <= 8, w.origin.requests.join("\n"));
});

test("a thousand hosts that resolve one tag are one question to the registry", async () => {
  await using w = await world({ proxies: 0 });
  const { bytes } = w.origin.manifest("library/app", image(1), { tag: "1" });
  w.origin.manners.delayMs = 50;
  const http = new HttpClient();
  const place = { upstream: new Upstreams({ origin: w.origin.url }).default!, repository: "library/app" };
  const answers = await Promise.all(
    Array.from({ length: 1000 }, () => {
      const host = new SeederManifests({
        seeders: [new URL(w.cluster.seeder!.url)],
        http,
        budgetMs: 60_000,
        attemptMs: 60_000,
      });
      const { signal } = new AbortController();
      return host.ask({ place, reference: "1", accept: parseAccept(ANY), wantsBytes: true, signal });
    }),
  );
  await http.close();
  assert.ok(answers.every((answer) => answer && answer.resolved.size === bytes.length));
  // The first answer may be older than a second when the last host asks.
  assert.ok(w.origin.requests.length <= 10, `${w.origin.requests.length}`);
  assert.equal(reads(w.origin, "GET"), 1);
});

test("in a cluster with a secret the seeder is asked as a part, and answers", async () => {
  await using w = await world({ cluster: { secret: "a secret of this test, long enough" } });
  const { digest } = w.origin.manifest("library/app", image(1), { tag: "1" });
  for (const reference of ["1", digest]) {
    const { status, headers } = await w.ask(reference);
    assert.deepEqual([status, headers["x-eagle-source"]], [200, reference === "1" ? "seeder" : "cache"]);
  }
});

test("no seeder that answers: the proxy asks the registry itself", async () => {
  await using w = await world();
  const { bytes } = w.origin.manifest("library/app", image(1), { tag: "1" });
  await w.cluster.seeder!.close();
  const { status, body, headers } = await w.ask("1");
  assert.ok(status === 200 && body.equals(bytes));
  assert.equal(headers["x-eagle-source"], "origin");
});

test("private: the registry's own refusals, and nobody profits from another's pull", async () => {
  await using w = await world();
  const right = "Basic cmlnaHQ=";
  w.origin.manners.authorize.set("team/secret", right);
  const { digest, bytes } = w.origin.manifest("team/secret", image(1), { tag: "1" });
  const as = (authorization?: string) => ({
    repository: "team/secret",
    ...(authorization === undefined ? {} : { authorization }),
  });
  for (const reference of ["1", digest]) {
    const refused = await w.ask(reference, as());
    assert.equal(refused.status, 401);
    assert.equal(refused.headers["www-authenticate"], 'Basic realm="team/secret"');
    assert.equal(JSON.parse(refused.body.toString()).errors[0].code, "UNAUTHORIZED");
    for (let round = 0; round < 3; round++) {
      const { status, body } = await w.ask(reference, as(right));
      assert.ok(status === 200 && body.equals(bytes));
    }
    for (const authorization of [undefined, "Basic d3Jvbmc="])
      assert.equal((await w.ask(reference, as(authorization))).status, 401);
  }
  // Under the name of another repository it is not there.
  assert.equal((await w.ask(digest, { authorization: right })).status, 404);
  const seeder = await get(
    `${w.cluster.seeder!.url}/eagle/v1/manifests?url=${encodeURIComponent(`${w.origin.url}/v2/team/secret/manifests/1`)}`,
    { headers: { accept: ANY, authorization: right } },
  );
  assert.equal(seeder.status, 401, "a seeder speaks of what anyone may read alone");
  await w.origin.down();
  const stale = await w.ask("1", as(right));
  assert.ok(stale.status === 200 && stale.headers.warning && stale.body.equals(bytes));
  assert.equal((await w.ask(digest, as(right))).status, 200);
  for (const authorization of [undefined, "Basic d3Jvbmc="])
    for (const reference of ["1", digest]) assert.ok((await w.ask(reference, as(authorization))).status >= 400);
});

test("authorize: never: what is private goes past the cache", async () => {
  await using w = await world({ proxyCfg: { authorize: "never" } });
  w.origin.manners.authorize.set("team/secret", "Basic x");
  w.origin.manifest("team/secret", image(1), { tag: "1" });
  const how = { repository: "team/secret", authorization: "Basic x" };
  assert.equal((await w.ask("1", how)).status, 200);
  await w.origin.down();
  assert.ok((await w.ask("1", how)).status >= 500);
});

test("authorize: always: each caller is asked about", async () => {
  await using w = await world({ proxyCfg: { authorize: "always" } });
  const { digest } = w.origin.manifest("library/app", image(1), { tag: "1" });
  assert.equal((await w.ask("1")).status, 200);
  w.origin.manners.authorize.set("library/app", "Basic x");
  for (const reference of ["1", digest]) {
    assert.equal((await w.ask(reference, { authorization: "Basic other" })).status, 401);
    assert.equal((await w.ask(reference, { authorization: "Basic x" })).status, 200);
  }
  await w.origin.down();
  assert.ok((await w.ask("1", { authorization: "Basic new" })).status >= 500);
});

test("what is too large to keep, or cannot be checked, is passed on", async () => {
  await using w = await world();
  const large = w.origin.manifest("library/app", { pad: "x".repeat(5_000_000) }, { tag: "large" });
  for (const reference of ["large", large.digest]) {
    const { status, body, whole } = await w.ask(reference);
    assert.ok(status === 200 && whole && body.equals(large.bytes), reference);
  }
  const mediaType = "application/vnd.docker.distribution.manifest.v1+prettyjws";
  const old = w.origin.manifest("library/app", { old: 1 }, { tag: "old", mediaType });
  assert.ok((await w.ask("old", { accept: mediaType })).body.equals(old.bytes));
  w.origin.manners.corrupt = true;
  assert.equal((await w.ask(large.digest)).whole, false, "a wrong body does not end well");
});

test("a registry without HEAD, and one that says no digest", async () => {
  await using w = await world({ seederCfg: { tagTTL: 0 } });
  for (const manner of ["noHead", "noDigest"] as const) {
    w.origin.manners[manner] = true;
    for (let n = 0; n < 2; n++) {
      const { digest, bytes } = w.origin.manifest("library/app", { ...image(n), manner }, { tag: "1" });
      for (let round = 0; round < 2; round++) {
        const { status, body, headers } = await w.ask("1");
        assert.ok(status === 200 && body.equals(bytes), manner);
        assert.equal(headers["docker-content-digest"], digest);
        assert.equal((await w.ask(digest)).status, 200, manner);
      }
    }
  }
});

test("what is pushed through a proxy is seen there at once; a query and a push pass untouched", async () => {
  await using w = await world({ seederCfg: { tagTTL: 60 } });
  w.origin.manifest("library/app", image(1), { tag: "1" });
  await w.ask("1");
  const body = JSON.stringify(image(2));
  const pushed = await fetch(`${w.proxy.url}/v2/library/app/manifests/1`, {
    method: "PUT",
    headers: { "content-type": OCI_MANIFEST },
    body,
  });
  assert.equal(pushed.status, 201);
  assert.equal(
    (await w.ask("1")).headers["docker-content-digest"],
    `sha256:${createHash("sha256").update(body).digest("hex")}`,
  );
});

test("what is deleted through a proxy is gone there at once", async () => {
  await using w = await world();
  const { digest } = w.origin.manifest("library/app", image(1));
  assert.equal((await w.ask(digest)).status, 200);
  await fetch(`${w.proxy.url}/v2/library/app/manifests/${digest}`, { method: "DELETE" });
  assert.equal((await w.ask(digest)).status, 404);
});

test("a manifest that was served spares the blobs their own questions", async () => {
  await using w = await world();
  const blobs = [1, 2, 3].map((n) => w.origin.blob("library/app", Buffer.alloc(1000, n)));
  const foreign = w.origin.blob("library/app", Buffer.alloc(1000, 4));
  const layers = [...blobs.map((digest) => ({ digest, size: 1000 })), { digest: foreign, urls: ["http://x"] }];
  w.origin.manifest("library/app", { ...image(1), layers }, { tag: "1" });
  await w.ask("1");
  for (const digest of [...blobs, foreign]) {
    const { status, body } = await get(w.cluster.blobUrl(w.proxy, { repository: "library/app", digest }));
    assert.ok(status === 200 && body.length === 1000);
  }
  const heads = w.origin.requests.filter((request) => request.startsWith("HEAD") && request.includes("/blobs/"));
  assert.ok(
    heads.every((request) => request.endsWith(foreign)),
    heads.join(),
  );
});
