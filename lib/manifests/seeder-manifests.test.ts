/** @module Tests of asking seeders about manifests. */
import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { test } from "node:test";
import { HttpClient } from "../http/client.ts";
import { type FakeServer, fakeServer } from "../registry/testing/fake-registry.ts";
import { Upstreams } from "../registry/upstreams.ts";
import { parseAccept } from "./accept.ts";
import { digestOf, type Manifest } from "./manifest.ts";
import { SeederManifests, type SeederQuestion } from "./seeder-manifests.ts";

const place = { upstream: new Upstreams({ origin: "docker.io" }).default!, repository: "library/app" };
const bytes = Buffer.from('{"schemaVersion":2}');
const mediaType = "application/vnd.oci.image.manifest.v1+json";
const manifest: Manifest = { digest: digestOf(bytes), mediaType, size: bytes.length, bytes };

function question(init: Partial<SeederQuestion> = {}): SeederQuestion {
  return {
    place,
    reference: "1",
    accept: parseAccept(mediaType),
    wantsBytes: true,
    signal: new AbortController().signal,
    ...init,
  };
}

function right(res: ServerResponse, headers: Record<string, string> = {}, body: Uint8Array = bytes): void {
  res.writeHead(200, {
    "content-type": mediaType,
    "docker-content-digest": manifest.digest.toString(),
    "content-length": body.length,
    ...headers,
  });
  res.end(body);
}

async function withSeeders(
  servers: FakeServer[],
  run: (asks: SeederManifests) => Promise<void>,
  times: { budgetMs?: number; attemptMs?: number } = {},
): Promise<void> {
  const http = new HttpClient();
  try {
    await run(new SeederManifests({ seeders: servers.map(({ url }) => new URL(url)), http, ...times }));
  } finally {
    await http.close();
    for (const server of servers) await server.close();
  }
}

test("what a seeder tells, how old it is, and that it is stale", async () => {
  const seeder = await fakeServer((_req, res) => right(res, { age: "7", warning: '110 x "y"' }));
  await withSeeders([seeder], async (seeders) => {
    const answer = await seeders.ask(question());
    assert.ok(answer && "bytes" in answer.resolved && Buffer.from(answer.resolved.bytes).equals(bytes));
    assert.deepEqual([answer.ageMs, answer.isStale], [7000, true]);
    const { method, url, headers } = seeder.seen[0]!;
    const told = new URL(url, seeder.url);
    assert.deepEqual(
      [method, told.pathname, told.searchParams.get("url"), headers.accept],
      ["GET", "/eagle/v1/manifests", "https://registry-1.docker.io/v2/library/app/manifests/1", mediaType],
    );
  });
});

test("what the asker has is not sent again", async () => {
  const seeder = await fakeServer((req, res) => {
    if (req.headers["if-none-match"] === `"${manifest.digest}"`) res.writeHead(304).end();
    else right(res);
  });
  await withSeeders([seeder], async (seeders) => {
    const answer = await seeders.ask(question({ have: manifest }));
    assert.equal(answer?.resolved, manifest);
  });
});

test("a wrong answer is none, and counts against its seeder", async () => {
  const lies: ((res: ServerResponse) => void)[] = [
    (res) => right(res, {}, Buffer.from("{}")),
    (res) => right(res, { "content-type": "text/html" }),
    (res) => right(res, { "docker-content-digest": "sha256:x" }),
    (res) => res.writeHead(500).end(),
    (res) => res.destroy(),
  ];
  for (const lie of lies) {
    const seeder = await fakeServer((_req, res) => lie(res));
    await withSeeders([seeder], async (seeders) => {
      assert.equal(await seeders.ask(question()), undefined);
      assert.equal(await seeders.ask(question()), undefined);
      assert.equal(seeder.seen.length, 1, "it is left alone for a while");
    });
  }
  const other = `sha256:${"0".repeat(64)}`;
  const seeder = await fakeServer((_req, res) => right(res));
  await withSeeders([seeder], async (seeders) => {
    assert.equal(await seeders.ask(question({ reference: other })), undefined, "another digest than was asked for");
  });
});

test("a refusal is no failure, and the next seeder is not asked", async () => {
  const servers = await Promise.all([0, 1].map(() => fakeServer((_req, res) => res.writeHead(404).end("{}"))));
  await withSeeders(servers, async (seeders) => {
    for (let round = 0; round < 3; round++) assert.equal(await seeders.ask(question()), undefined);
    assert.deepEqual(servers.map(({ seen }) => seen.length).sort(), [0, 3], "one repository, one seeder");
  });
});

test("of several the next one is asked when one is dead or mute; all within the budget", async () => {
  const servers = await Promise.all([0, 1].map(() => fakeServer((_req, res) => right(res))));
  await withSeeders(servers, async (seeders) => {
    await seeders.ask(question());
    const chosen = servers.findIndex(({ seen }) => seen.length > 0);
    await servers[chosen]!.close();
    assert.ok(await seeders.ask(question()));
    assert.equal(servers[1 - chosen]!.seen.length, 1);
  });
  const mute = await fakeServer(() => {});
  const began = performance.now();
  await withSeeders([mute], async (seeders) => assert.equal(await seeders.ask(question()), undefined), {
    budgetMs: 100,
    attemptMs: 50,
  });
  assert.ok(performance.now() - began < 10_000);
});

test("a HEAD brings no bytes; the asker's own signal rejects", async () => {
  const seeder = await fakeServer((_req, res) => right(res));
  await withSeeders([seeder], async (seeders) => {
    const answer = await seeders.ask(question({ wantsBytes: false }));
    assert.ok(answer && !("bytes" in answer.resolved) && answer.resolved.size === bytes.length);
    assert.equal(seeder.seen[0]?.method, "HEAD");
    await assert.rejects(seeders.ask(question({ signal: AbortSignal.abort(new Error("left")) })), /left/);
  });
});
