/**
 * Tests of origin-client.
 * @module
 */
import assert from "node:assert";
import { test } from "node:test";
import { HttpClient } from "../http/client.ts";
import { parseDigest } from "./digest.ts";
import { RegistryError, type RegistryErrorCode } from "./errors.ts";
import { OriginClient } from "./origin-client.ts";
import { collect, type FakeServer, fakeServer, patternBytes, serveBlob } from "./testing/fake-registry.ts";
import type { Upstream } from "./upstreams.ts";

const digest = parseDigest(`sha256:${"ab".repeat(32)}`);
const blobPath = `/v2/a/b/blobs/${digest}`;
const anonymous = { kind: "anonymous" } as const;
const configured = { kind: "configured" } as const;
const failsWith = (code: RegistryErrorCode) => (error: unknown) =>
  error instanceof RegistryError && error.code === code;

const upstreamOf = (server: FakeServer, credentials?: { username: string; password: string }): Upstream => ({
  name: server.authority,
  base: new URL(server.url),
  ...(credentials === undefined ? {} : { credentials }),
});

async function withClient(run: (client: OriginClient) => Promise<void>): Promise<void> {
  const http = new HttpClient();
  try {
    await run(new OriginClient({ http }));
  } finally {
    await http.close();
  }
}

const text = async (response: { body: AsyncIterable<Uint8Array> }) => (await collect(response.body)).toString();

test("Basic: once challenged, credentials go with every request; the anonymous caller gets the 401", async () => {
  const expected = `Basic ${Buffer.from("u:p").toString("base64")}`;
  await using server = await fakeServer((req, res) => {
    if (req.headers.authorization === expected) res.end("in");
    else res.writeHead(401, { "www-authenticate": 'Basic realm="r"' }).end("out");
  });
  await withClient(async (client) => {
    const upstream = upstreamOf(server, { username: "u", password: "p" });
    for (let i = 0; i < 3; i++) {
      const response = await client.request(upstream, { method: "GET", path: blobPath, caller: configured });
      assert.deepStrictEqual([response.status, await text(response)], [200, "in"]);
    }
    assert.strictEqual(server.seen.length, 4);
    const refused = await client.request(upstream, { method: "GET", path: blobPath, caller: anonymous });
    assert.deepStrictEqual([refused.status, await text(refused)], [401, "out"]);
    assert.strictEqual(refused.headers.get("www-authenticate"), 'Basic realm="r"');
    const wrong = upstreamOf(server, { username: "u", password: "x" });
    const before = server.seen.length;
    const still = await client.request(wrong, { method: "GET", path: "/v2/other/blobs/x", caller: configured });
    assert.deepStrictEqual([still.status, await text(still), server.seen.length - before], [401, "out", 2]);
  });
});

test("a caller's own header goes verbatim, without any token flow", async () => {
  await using server = await fakeServer((req, res) => {
    if (req.headers.authorization === "Bearer theirs") res.end("in");
    else res.writeHead(401, { "www-authenticate": `Bearer realm="${server.url}/token"` }).end();
  });
  await withClient(async (client) => {
    const upstream = upstreamOf(server, { username: "u", password: "p" });
    const send = (authorization: string) =>
      client.request(upstream, {
        method: "GET",
        path: blobPath,
        caller: { kind: "caller", authorization },
        headers: { Authorization: "Basic smuggled", Host: "evil.example", Cookie: "c=1" },
      });
    const good = await send("Bearer theirs");
    assert.strictEqual(await text(good), "in");
    const refused = await send("Bearer old");
    refused.body.destroy();
    assert.strictEqual(refused.status, 401);
    assert.deepStrictEqual(
      server.seen.map(({ url, headers }) => [url, headers.authorization, headers.host, headers.cookie]),
      [
        [blobPath, "Bearer theirs", server.authority, undefined],
        [blobPath, "Bearer old", server.authority, undefined],
      ],
    );
  });
});

/** A registry that wants a token of its own token server, which counts. */
async function tokenRegistry(good: (token: string) => boolean) {
  let tokens = 0;
  const server = await fakeServer((req, res, seen) => {
    if (seen.url.startsWith("/token")) {
      setTimeout(() => res.end(JSON.stringify({ token: `t${++tokens}` })), 10);
      return;
    }
    const token = /^Bearer (.+)$/.exec(req.headers.authorization ?? "")?.[1];
    if (token !== undefined && good(token)) res.end("in");
    else {
      const scope = "repository:a/b:pull";
      res
        .writeHead(401, { "www-authenticate": `Bearer realm="${server.url}/token",service="s",scope="${scope}"` })
        .end("no");
    }
  });
  return server;
}

test("Bearer: one token for 50 concurrent callers, then no more 401", async () => {
  await using server = await tokenRegistry(() => true);
  await withClient(async (client) => {
    const get = async () => {
      const response = await client.request(upstreamOf(server), { method: "GET", path: blobPath, caller: anonymous });
      return `${response.status} ${await text(response)}`;
    };
    const answers = await Promise.all(Array.from({ length: 50 }, get));
    assert.ok(answers.every((answer) => answer === "200 in"));
    assert.strictEqual(server.seen.filter(({ url }) => url.startsWith("/token")).length, 1);
    const before = server.seen.length;
    assert.strictEqual(await get(), "200 in");
    assert.strictEqual(server.seen.length - before, 1);
  });
});

test("Bearer: a token revoked early is replaced; a refused fresh one is the end", async () => {
  let good = "t1";
  await using server = await tokenRegistry((token) => token === good);
  await withClient(async (client) => {
    const get = async () => {
      const response = await client.request(upstreamOf(server), { method: "GET", path: blobPath, caller: anonymous });
      return `${response.status} ${await text(response)}`;
    };
    assert.strictEqual(await get(), "200 in");
    good = "t2";
    assert.strictEqual(await get(), "200 in");
    good = "none";
    const before = server.seen.length;
    assert.strictEqual(await get(), "401 no");
    assert.strictEqual(server.seen.length - before, 3);
  });
});

test("a token server out of order is an error, not a 401", async () => {
  await using server = await fakeServer((_req, res, seen) => {
    if (seen.url.startsWith("/token")) res.writeHead(500).end();
    else res.writeHead(401, { "www-authenticate": `Bearer realm="${server.url}/token"` }).end();
  });
  await withClient(async (client) => {
    const request = client.request(upstreamOf(server), { method: "GET", path: blobPath, caller: anonymous });
    await assert.rejects(request, failsWith("unavailable"));
  });
});

test("redirects: followed with Range, never with Authorization, also not on the way back", async () => {
  const blob = patternBytes(1000);
  await using cdn = await fakeServer((req, res, seen) => {
    if (seen.url === "/back") res.writeHead(302, { location: `${server.url}/end` }).end();
    else serveBlob(req, res, blob);
  });
  await using server = await fakeServer((req, res, seen) => {
    if (seen.url === "/end") serveBlob(req, res, blob);
    else if (seen.url === blobPath) res.writeHead(307, { location: "/same" }).end("moved");
    else if (seen.url === "/same") res.writeHead(301, { location: `${cdn.url}/back?sig=1#f` }).end();
    else res.writeHead(307, { location: `${cdn.url}/x` }).end();
  });
  await withClient(async (client) => {
    const caller = { kind: "caller", authorization: "Bearer secret" } as const;
    const headers = { range: "bytes=10-19", "eagle-authorization": "secret" };
    const response = await client.request(upstreamOf(server), { method: "GET", path: "/x", caller, headers });
    assert.deepStrictEqual([response.status, await collect(response.body)], [206, Buffer.from(blob.subarray(10, 20))]);
    assert.strictEqual(cdn.seen[0]?.headers.range, "bytes=10-19");
    const read = await client.readBlob(upstreamOf(server), "a/b", digest, { caller });
    assert.ok(Buffer.from(blob).equals(await collect(read.body)));
    assert.strictEqual(cdn.seen[1]?.url, "/back?sig=1");
    for (const { headers } of cdn.seen) {
      assert.deepStrictEqual([headers.authorization, headers["eagle-authorization"]], [undefined, undefined]);
    }
    assert.strictEqual(server.seen.find(({ url }) => url === "/same")?.headers.authorization, "Bearer secret");
    assert.strictEqual(server.seen.find(({ url }) => url === "/end")?.headers.authorization, undefined);
  });
});

test("redirects: loops, broken Locations, challenges of other hosts, methods that are not followed", async () => {
  await using cdn = await fakeServer((_req, res) => {
    res.writeHead(401, { "www-authenticate": `Bearer realm="${cdn.url}/token"` }).end();
  });
  const locations: Record<string, string | undefined> = {
    "/loop": "/loop",
    "/none": undefined,
    "/file": "file:///etc/passwd",
    "/user": "http://u:p@127.0.0.1/",
    "/bad": "http://[",
    "/foreign": `${cdn.url}/blob`,
  };
  await using server = await fakeServer((_req, res, { url }) => {
    const location = locations[url];
    res.writeHead(302, location === undefined ? {} : { location }).end();
  });
  await withClient(async (client) => {
    const upstream = upstreamOf(server, { username: "u", password: "p" });
    for (const path of ["/loop", "/none", "/file", "/user", "/bad"]) {
      const request = client.request(upstream, { method: "GET", path, caller: configured });
      await assert.rejects(request, failsWith("protocol"), path);
    }
    assert.strictEqual(server.seen.filter(({ url }) => url === "/loop").length, 6);
    const foreign = await client.request(upstream, { method: "GET", path: "/foreign", caller: configured });
    foreign.body.destroy();
    assert.deepStrictEqual([foreign.status, foreign.headers.get("www-authenticate")], [401, null]);
    assert.strictEqual(cdn.seen.length, 1);
    const posted = await client.request(upstream, {
      method: "POST",
      path: "/foreign",
      caller: anonymous,
      body: Buffer.from("x"),
    });
    posted.body.destroy();
    assert.deepStrictEqual([posted.status, cdn.seen.length], [302, 1]);
  });
});

test("paths that would lead elsewhere are not sent", async () => {
  await using server = await fakeServer((_req, res, { url }) => res.end(url));
  await withClient(async (client) => {
    for (const path of [
      "",
      "v2/",
      "@evil.example/",
      "/v2/../x",
      "/v2/%2e%2E/x",
      "/v2/..\\x",
      "/v2/x/.",
      "http://evil/",
    ]) {
      const request = client.request(upstreamOf(server), { method: "GET", path, caller: anonymous });
      await assert.rejects(request, failsWith("invalid"), path);
    }
    assert.strictEqual(server.seen.length, 0);
    for (const path of ["//evil.example/x", "/v2/a?x=/../y", "/v2/a?n=%2F"]) {
      const response = await client.request(upstreamOf(server), { method: "GET", path, caller: anonymous });
      assert.strictEqual(await text(response), path);
    }
    await assert.rejects(
      client.headBlob(upstreamOf(server), "../x", digest, { caller: anonymous }),
      failsWith("invalid"),
    );
    const read = client.readBlob(upstreamOf(server), "a//b", digest, { caller: anonymous });
    await assert.rejects(read, failsWith("invalid"));
  });
});

test("headBlob tells status, size and challenge", async () => {
  await using server = await fakeServer((req, res, { url }) => {
    if (url.includes("/private/")) res.writeHead(401, { "www-authenticate": 'Basic realm="r"' }).end();
    else if (url.includes("/none/")) res.writeHead(404).end();
    else if (url.includes("/nohead/") && req.method === "HEAD") res.writeHead(405).end();
    else serveBlob(req, res, patternBytes(url.includes("/empty/") ? 0 : 5000));
  });
  await withClient(async (client) => {
    const head = (repository: string) => client.headBlob(upstreamOf(server), repository, digest, { caller: anonymous });
    assert.deepStrictEqual(await head("a"), { status: 200, size: 5000 });
    assert.deepStrictEqual(await head("empty"), { status: 200, size: 0 });
    assert.deepStrictEqual(await head("nohead"), { status: 200, size: 5000 });
    assert.deepStrictEqual(await head("nohead/empty"), { status: 200, size: 0 });
    assert.deepStrictEqual(await head("none"), { status: 404 });
    assert.deepStrictEqual(await head("private"), { status: 401, challenge: 'Basic realm="r"' });
  });
  await withClient(async (client) => {
    const gone = upstreamOf({ ...server, url: "http://127.0.0.1:1", authority: "127.0.0.1:1" });
    await assert.rejects(client.headBlob(gone, "a", digest, { caller: anonymous }), failsWith("unavailable"));
  });
});

test("aborting ends requests, and the client closes its own connections", async () => {
  await using server = await fakeServer(() => {});
  const client = new OriginClient();
  const controller = new AbortController();
  const request = client.request(upstreamOf(server), {
    method: "GET",
    path: blobPath,
    caller: anonymous,
    signal: controller.signal,
  });
  const outcome = assert.rejects(request, failsWith("aborted"));
  while (server.seen.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  controller.abort();
  await outcome;
  await client.close();
});
