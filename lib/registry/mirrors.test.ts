/** @module Tests of mirrors. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDigest } from "./digest.ts";
import { RegistryError } from "./errors.ts";
import { type Caller, OriginClient } from "./origin-client.ts";
import { collect, type FakeServer, fakeServer } from "./testing/fake-registry.ts";
import { type RegistryConfig, type Upstream, Upstreams } from "./upstreams.ts";

const digest = parseDigest(`sha256:${"a".repeat(64)}`);
const anonymous: Caller = { kind: "anonymous" };
const path = `/v2/x/y/blobs/${digest}`;

/** A server that answers everything with a status and its name. */
const named = (name: string, status = 200) =>
  fakeServer((_req, res) => {
    res.writeHead(status, { "content-length": name.length, "www-authenticate": `Basic realm="${name}"` });
    res.end(name);
  });

function upstreamOf(
  registry: FakeServer,
  mirrors: string[],
  registries: Record<string, RegistryConfig> = {},
): Upstream {
  const name = registry.authority;
  return new Upstreams({ origin: name, registries: { [name]: { mirrors }, ...registries } }).default!;
}

async function get(
  client: OriginClient,
  upstream: Upstream,
  init: { caller?: Caller; path?: string; method?: string } = {},
) {
  const response = await client.request(upstream, { method: "GET", path, caller: anonymous, ...init });
  return { status: response.status, text: (await collect(response.body)).toString() };
}

test("in order; an error of any kind passes over, the registry is last", async () => {
  await using registry = await named("registry");
  await using good = await named("good");
  await using broken = await named("broken", 503);
  await using empty = await named("empty", 404);
  await using closed = await named("closed", 401);
  const client = new OriginClient();
  const dead = "127.0.0.1:1";
  const all = upstreamOf(registry, [dead, broken.authority, empty.authority, closed.authority, good.authority]);
  assert.deepEqual(await get(client, all), { status: 200, text: "good" });
  assert.deepEqual(
    [broken, empty, closed, good, registry].map(({ seen }) => seen.length),
    [1, 1, 1, 1, 0],
  );
  assert.equal(good.seen[0]?.url, `${path}?ns=${encodeURIComponent(registry.authority)}`);
  const none = upstreamOf(registry, [empty.authority, closed.authority]);
  assert.deepEqual(await get(client, none), { status: 200, text: "registry" });
  assert.equal(registry.seen[0]?.url, path);
  await client.close();
});

test("the registry's own refusal is heard, not a mirror's", async () => {
  await using registry = await named("registry", 401);
  await using closed = await named("mirror", 401);
  const client = new OriginClient();
  const { status, challenge } = await client.headBlob(upstreamOf(registry, [closed.authority]), "x/y", digest, {
    caller: anonymous,
  });
  assert.deepEqual([status, challenge], [401, 'Basic realm="registry"']);
  await client.close();
});

test("a caller's credentials go to the registry alone, the registry's own as well", async () => {
  await using registry = await named("registry");
  await using mirror = await named("mirror");
  const client = new OriginClient();
  const upstream = upstreamOf(registry, [mirror.authority]);
  const caller: Caller = { kind: "caller", authorization: "Basic secret" };
  assert.equal((await get(client, upstream, { caller })).text, "registry");
  assert.equal(mirror.seen.length, 0);
  assert.equal((await get(client, upstream, { caller: { kind: "caller", authorization: undefined } })).text, "mirror");
  const own = { username: "u", password: "p" };
  const credentialed = upstreamOf(registry, [mirror.authority], {
    [registry.authority]: { mirrors: [mirror.authority], ...own },
  });
  assert.equal((await get(client, credentialed, { caller: { kind: "configured" } })).text, "mirror");
  assert.ok(mirror.seen.every(({ headers }) => headers.authorization === undefined));
  await client.close();
});

test("a mirror's own credentials are used in the operator's name, and never for the anonymous", async () => {
  await using registry = await named("registry", 404);
  await using mirror = await fakeServer((req, res) => {
    if (req.headers.authorization !== `Basic ${Buffer.from("m:s").toString("base64")}`)
      return res.writeHead(401, { "www-authenticate": "Basic realm=x", "content-length": 0 }).end();
    return res.end("mirror");
  });
  const client = new OriginClient();
  const upstream = upstreamOf(registry, [mirror.authority], {
    [mirror.authority]: { username: "m", password: "s", plainHTTP: true },
  });
  assert.notEqual(upstream.credentials, undefined, "there is somebody to ask for");
  assert.equal((await get(client, upstream, { caller: { kind: "configured" } })).text, "mirror");
  assert.equal((await get(client, upstream)).status, 404);
  await client.close();
});

test("blobs and manifests are read there, nothing else, and nothing is written", async () => {
  await using registry = await named("registry");
  await using mirror = await named("mirror");
  const client = new OriginClient();
  const upstream = upstreamOf(registry, [mirror.authority]);
  for (const other of ["/v2/", "/v2/x/y/tags/list", `/v2/x/y/referrers/${digest}`, "/v2/x/y/blobs/uploads/1?a=b"])
    assert.equal(
      (await get(client, upstream, { path: other, method: other.includes("uploads") ? "PUT" : "GET" })).text,
      "registry",
      other,
    );
  assert.equal((await get(client, upstream, { path: "/v2/x/y/manifests/1" })).text, "mirror");
  assert.equal(mirror.seen.length, 1);
  await client.close();
});

test("a path of a mirror stands before the repository", async () => {
  await using registry = await named("registry");
  await using mirror = await named("mirror");
  const client = new OriginClient();
  await get(client, upstreamOf(registry, [`${mirror.url}/hub/proxy/`]), { path: "/v2/x/manifests/1" });
  assert.match(mirror.seen[0]?.url ?? "", /^\/v2\/hub\/proxy\/x\/manifests\/1\?ns=/);
  await client.close();
});

test("a dead mirror is left alone for a while, and asked when nobody else answers", async () => {
  await using registry = await named("registry");
  await using mirror = await named("mirror");
  const clock = { now: 0 };
  let fails = true;
  const asked: string[] = [];
  const real = new OriginClient();
  const client = new OriginClient({
    now: () => clock.now,
    http: {
      async request(url, init) {
        asked.push(url.host);
        if (fails && url.host === mirror.authority) throw new RegistryError("unavailable", "no connection");
        if (url.host === registry.authority && registryIsDown) throw new RegistryError("unavailable", "no connection");
        const { status, text } = await get(real, new Upstreams({ origin: url.origin }).default!, {
          path: init?.headers ? path : path,
        });
        const { Readable } = await import("node:stream");
        return { status, headers: new Headers(), body: Readable.from([Buffer.from(text)]) };
      },
    },
  });
  let registryIsDown = false;
  const upstream = upstreamOf(registry, [mirror.authority]);
  const [m, r] = [mirror.authority, registry.authority];
  await get(client, upstream);
  await get(client, upstream);
  assert.deepEqual(asked.splice(0), [m, r, r]);
  registryIsDown = true;
  fails = false;
  assert.equal((await get(client, upstream)).text, "mirror");
  assert.deepEqual(asked.splice(0), [r, m]);
  clock.now = 10_001;
  await get(client, upstream);
  assert.deepEqual(asked.splice(0), [m]);
  await real.close();
});
