/** @module The registry API at the proxy's port: what passes untouched, ranges, ways to name a registry, credentials. */
import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type FakeDistribution, fakeDistribution, OCI_MANIFEST } from "../../lib/registry/testing/fake-distribution.ts";
import { type Cluster, type ClusterInit, randomBytes, startCluster } from "./cluster.ts";
import { type Answer, type GetInit, get } from "./http-get.ts";

interface World extends AsyncDisposable {
  readonly origin: FakeDistribution;
  readonly cluster: Cluster;
  /** Asks the first proxy. */
  ask(target: string, init?: GetInit): Promise<Answer>;
}

async function world(init: (origin: FakeDistribution) => ClusterInit = () => ({})): Promise<World> {
  await using cleanup = new AsyncDisposableStack();
  const origin = cleanup.use(await fakeDistribution());
  const { proxyCfg, seederCfg, ...rest } = init(origin);
  const cluster = cleanup.use(
    await startCluster({
      proxyCfg: { origin: origin.url, ...proxyCfg },
      seederCfg: { origin: origin.url, ...seederCfg },
      ...rest,
    }),
  );
  const stack = cleanup.move();
  return {
    origin,
    cluster,
    ask: (target, how) => get(cluster.proxies[0]!.url + target, how),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const image = (n: number) => ({ schemaVersion: 2, mediaType: OCI_MANIFEST, n, config: {}, layers: [] });

test("tags, referrers and the base pass through, queries and all", async () => {
  await using w = await world();
  assert.equal((await w.ask("/v2/")).body.toString(), "{}");
  const tags = await w.ask("/v2/library/app/tags/list?n=1&last=a%2Fb&ns2=x");
  assert.deepEqual(JSON.parse(tags.body.toString()), { name: "library/app", query: "n=1&last=a%2Fb&ns2=x" });
  assert.equal(tags.headers.link, '</v2/library/app/tags/list?n=1&last=a>; rel="next"');
  const referrers = await w.ask(`/v2/library/app/referrers/sha256:${"a".repeat(64)}?artifactType=x%2By`);
  assert.deepEqual(JSON.parse(referrers.body.toString()), { query: "artifactType=x%2By" });
});

test("pushes pass untouched: POST, PATCH, PUT, DELETE, mount", async () => {
  await using w = await world();
  const url = w.cluster.proxies[0]!.url;
  const digest = `sha256:${"b".repeat(64)}`;
  const uploads = `/v2/library/app/blobs/uploads/`;
  const body = Buffer.from(randomBytes(300_000, 7));
  for (const [method, target] of [
    ["POST", uploads],
    ["POST", `${uploads}?mount=${digest}&from=other%2Fapp`],
    ["PATCH", `${uploads}1?state=a%3Db`],
    ["PUT", `${uploads}1?state=a&digest=${digest}`],
    ["DELETE", `/v2/library/app/blobs/${digest}`],
    ["DELETE", `/v2/library/app/manifests/${digest}`],
  ] as const) {
    const hasBody = method === "PATCH" || method === "PUT";
    const answer = await fetch(url + target, { method, ...(hasBody ? { body } : {}) });
    assert.equal(answer.status, 202, `${method} ${target}`);
    assert.equal(w.origin.requests.at(-1), `${method} ${target}`);
    assert.equal(answer.headers.get("x-got"), hasBody ? `${body.length}` : "0");
    assert.equal(answer.headers.get("location"), `${uploads}1?state=a`);
  }
});

test("headers for one connection go no further, in either direction", async () => {
  await using w = await world();
  w.origin.manners.headers = { connection: "keep-alive, X-Hop", "x-hop": "1", "x-end": "2" };
  const { headers } = await w.ask("/v2/library/app/tags/list", {
    headers: { connection: "close, x-secret-hop", "x-secret-hop": "1", "x-other": "2" },
  });
  const seen = w.origin.headers.at(-1)!;
  assert.deepEqual([seen["x-secret-hop"], seen["x-other"]], [undefined, "2"]);
  assert.deepEqual([headers["x-hop"], headers["x-end"]], [undefined, "2"]);
});

test("ranges of a blob, cached or not", async () => {
  await using w = await world();
  const bytes = Buffer.from(randomBytes(2_000_000, 8));
  const digest = w.origin.blob("library/app", bytes);
  const target = `/v2/library/app/blobs/${digest}`;
  const size = bytes.length;
  for (const round of ["cold", "warm"]) {
    for (const [range, start, end] of [
      ["bytes=0-0", 0, 1],
      ["bytes=1000-1999999", 1000, size],
      ["bytes=1500000-", 1_500_000, size],
      ["bytes=-10", size - 10, size],
      ["bytes=1999990-5000000", 1_999_990, size],
    ] as const) {
      const { status, headers, body, whole } = await w.ask(target, { headers: { range } });
      assert.deepEqual([status, whole], [206, true], `${round} ${range}`);
      assert.equal(headers["content-range"], `bytes ${start}-${end - 1}/${size}`);
      assert.ok(body.equals(bytes.subarray(start, end)), range);
      assert.equal(headers["docker-content-digest"], digest);
    }
    const beyond = await w.ask(target, { headers: { range: `bytes=${size}-` } });
    assert.deepEqual([beyond.status, beyond.headers["content-range"]], [416, `bytes */${size}`]);
    for (const range of ["bytes=0-1,5-6", "bytes=5-1", "lines=0-1", "nonsense"]) {
      const { status, body } = await w.ask(target, { headers: { range } });
      assert.ok(status === 200 && body.equals(bytes), `${range}: the whole is a legal answer`);
    }
    const etag = `"${digest}"`;
    const same = await w.ask(target, { headers: { range: "bytes=0-9", "if-range": etag } });
    assert.deepEqual([same.status, same.headers.etag, same.body.length], [206, etag, 10]);
    for (const other of ['"other"', `W/${etag}`, "Tue, 24 Nov 2026 08:00:00 GMT"])
      assert.equal((await w.ask(target, { headers: { range: "bytes=0-9", "if-range": other } })).status, 200, other);
    assert.equal((await w.ask(target, { headers: { "if-none-match": etag } })).status, 304);
    const head = await w.ask(target, { method: "HEAD", headers: { range: "bytes=0-9" } });
    assert.deepEqual([head.status, head.headers["content-length"]], [200, String(size)]);
  }
});

test("sha512 blobs, and errors of the right kind", async () => {
  await using w = await world();
  const bytes = Buffer.from(randomBytes(600_000, 9));
  const digest = w.origin.blob("library/app", bytes, { algorithm: "sha512" });
  for (let round = 0; round < 2; round++) {
    const { status, body, headers } = await w.ask(`/v2/library/app/blobs/${digest}`);
    assert.ok(status === 200 && body.equals(bytes));
    assert.equal(headers["docker-content-digest"], digest);
  }
  const code = ({ body }: Answer) => JSON.parse(body.toString()).errors[0].code;
  for (const [target, status, wanted] of [
    [`/v2/library/app/blobs/sha256:${"0".repeat(64)}`, 404, "BLOB_UNKNOWN"],
    ["/v2/library/app/blobs/sha256:short", 400, "DIGEST_INVALID"],
    ["/v2/library/app/manifests/none", 404, "MANIFEST_UNKNOWN"],
    ["/v2/UPPER/manifests/1", 404, "NAME_INVALID"],
    ["/v2/library/app/manifests/1?ns=unknown.example", 404, "NAME_UNKNOWN"],
    ["/v2/unknown.example:5000/app/manifests/1", 404, "NAME_UNKNOWN"],
  ] as const) {
    const answer = await w.ask(target);
    assert.deepEqual([answer.status, code(answer)], [status, wanted], target);
    assert.match(String(answer.headers["content-type"]), /^application\/json/);
  }
});

test("a proxy that leads to itself says so, soon, for whatever is asked", async () => {
  await using w = await world();
  const digest = w.origin.blob("library/app", Buffer.from("x"));
  await w.ask("/v2/");
  const via = String(w.origin.headers.at(-1)?.via);
  for (const target of [
    "/v2/library/app/manifests/1",
    `/v2/library/app/manifests/${digest}`,
    `/v2/library/app/blobs/${digest}`,
  ])
    await w.ask(target);
  assert.ok(w.origin.headers.length > 4);
  const own = w.origin.headers.filter((headers) => headers.via === via);
  const seeders = w.origin.headers.length - own.length;
  assert.ok(
    own.length >= 3 && seeders >= 1,
    "requests of the proxy itself carry its mark, be they for an engine or not",
  );
  assert.equal((await w.ask(`/v2/library/app/blobs/${digest}`, { headers: { via } })).status, 508);
});

test("a blob's own query goes along when it is read past the cache", async () => {
  await using w = await world(() => ({ proxyCfg: { rules: ["nothing-like-this"] } }));
  const digest = w.origin.blob("library/app", Buffer.from("x"));
  assert.equal((await w.ask(`/v2/library/app/blobs/${digest}?a=b%2Fc`)).body.toString(), "x");
  assert.equal(w.origin.requests.at(-1), `GET /v2/library/app/blobs/${digest}?a=b%2Fc`);
});

test("a registry is named by ns=, by the first component, or by the URL; answers lead back the same way", async () => {
  await using second = await fakeDistribution();
  await using w = await world(() => ({ proxyCfg: { origins: [second.url] }, seederCfg: { origins: [second.url] } }));
  const bytes = Buffer.from(randomBytes(100_000, 10));
  const blob = second.blob("team/app", bytes);
  const manifest = second.manifest("team/app", image(1), { tag: "1" });
  const name = second.authority;
  for (const [what, wanted] of [
    [`blobs/${blob}`, bytes],
    ["manifests/1", manifest.bytes],
    [`manifests/${manifest.digest}`, manifest.bytes],
  ] as const) {
    const ns = await w.ask(`/v2/team/app/${what}?ns=${name}`);
    assert.ok(ns.status === 200 && ns.body.equals(wanted), what);
    assert.equal(ns.headers["oci-namespace"], name);
    const prefix = await w.ask(`/v2/${name}/team/app/${what}`);
    assert.ok(prefix.status === 200 && prefix.body.equals(wanted), what);
    const absolute = await w.ask("/", { target: `${second.url}/v2/team/app/${what}` });
    assert.ok(absolute.status === 200 && absolute.body.equals(wanted), what);
  }
  assert.equal(second.requests.filter((request) => request.startsWith("GET")).length, 2, second.requests.join());
  assert.equal(w.origin.requests.length, 0);
  const listed = await w.ask(`/v2/${name}/team/app/tags/list?n=1`);
  assert.equal(listed.headers.link, `</v2/${name}/team/app/tags/list?n=1&last=a>; rel="next"`);
  const byNs = await w.ask(`/v2/team/app/tags/list?ns=${name}&n=1`);
  assert.equal(JSON.parse(byNs.body.toString()).query, "n=1");
  assert.equal(byNs.headers.link, `</v2/team/app/tags/list?n=1&last=a&ns=${encodeURIComponent(name)}>; rel="next"`);
  const post = await w.ask(`/v2/${name}/team/app/blobs/uploads/`, { method: "POST" });
  assert.equal(post.headers.location, `/v2/${name}/team/app/blobs/uploads/1?state=a`);
});

test("_default lets other registries be asked, and only those", async () => {
  await using second = await fakeDistribution();
  await using w = await world(() => ({ registries: { _default: { allow: [second.authority] } } }));
  second.manifest("team/app", image(1), { tag: "1" });
  const blob = second.blob("team/app", Buffer.alloc(300_000, 1));
  assert.equal((await w.ask(`/v2/team/app/manifests/1?ns=${second.authority}`)).status, 200);
  const { status, headers } = await w.ask(`/v2/${second.authority}/team/app/blobs/${blob}`);
  assert.deepEqual([status, headers["x-eagle-source"] !== "origin"], [200, true], "the seeder may ask it, too");
  const refused = await w.ask("/v2/team/app/manifests/1?ns=127.0.0.1:1");
  assert.equal(refused.status, 404);
  assert.match(refused.body.toString(), /127\.0\.0\.1:1 is not among the allowed registries/);
  const absolute = await w.ask("/", { target: "http://127.0.0.1:1/v2/" });
  assert.equal(absolute.status, 403);
});

test("mirrors are asked first, and the registry where they do not serve", async () => {
  await using mirror = await fakeDistribution();
  await using w = await world((origin) => ({ registries: { [origin.authority]: { mirrors: [mirror.authority] } } }));
  const bytes = Buffer.from(randomBytes(700_000, 11));
  const there = mirror.blob("library/app", bytes);
  const here = w.origin.blob("library/app", bytes.subarray(1));
  assert.ok((await w.ask(`/v2/library/app/blobs/${there}`)).body.equals(bytes));
  assert.equal(w.origin.requests.length, 0);
  assert.ok((await w.ask(`/v2/library/app/blobs/${here}`)).body.equals(bytes.subarray(1)));
  mirror.manifest("library/app", image(1), { tag: "1" });
  assert.equal((await w.ask("/v2/library/app/manifests/1")).headers["x-eagle-source"], "seeder");
  await mirror.down();
  w.origin.manifest("library/app", image(2), { tag: "2" });
  assert.equal((await w.ask("/v2/library/app/manifests/2")).status, 200);
});

test("credentials from the environment and from docker's config.json, with a helper", async () => {
  const directory = await mkdtemp(join(tmpdir(), "eagle-credentials-"));
  const before = process.env.PATH;
  try {
    const helper = join(directory, "docker-credential-rig");
    await writeFile(helper, `#!/bin/sh\nread s\nprintf '{"ServerURL":"%s","Username":"h","Secret":"helped"}' "$s"\n`);
    await chmod(helper, 0o755);
    process.env.PATH = `${directory}:${before}`;
    process.env.EAGLE_TEST_USER = "e";
    process.env.EAGLE_TEST_PASSWORD = "from-env";
    const basic = (text: string) => `Basic ${Buffer.from(text).toString("base64")}`;
    const config = join(directory, "config.json");
    for (const [settings, authorization, file] of [
      [{ usernameEnv: "EAGLE_TEST_USER", passwordEnv: "EAGLE_TEST_PASSWORD" }, basic("e:from-env"), {}],
      [{ dockerConfig: config }, basic("h:helped"), { credsStore: "rig" }],
    ] as const) {
      await writeFile(config, JSON.stringify(file));
      await using w = await world((origin) => ({ registries: { [origin.authority]: settings } }));
      w.origin.manners.authorize.set("team/secret", authorization);
      const { bytes } = w.origin.manifest("team/secret", image(1), { tag: "1" });
      const blob = w.origin.blob("team/secret", bytes);
      assert.ok((await w.ask("/v2/team/secret/manifests/1")).body.equals(bytes));
      assert.ok((await w.ask(`/v2/team/secret/blobs/${blob}`)).body.equals(bytes));
      const other = { headers: { authorization: basic("x:wrong") } };
      assert.equal((await w.ask("/v2/team/secret/manifests/1", other)).status, 401, "who brings his own is himself");
    }
  } finally {
    process.env.PATH = before;
    delete process.env.EAGLE_TEST_USER;
    delete process.env.EAGLE_TEST_PASSWORD;
    await rm(directory, { recursive: true, force: true });
  }
});
