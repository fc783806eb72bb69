/**
 * @module
 * The client against real seeders: some killed, some mute, under fifty callers at once.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { serve } from "../http/server.ts";
import { MetaInfoClient, type MetaInfoClientOptions } from "./client.ts";
import { MetaInfoError } from "./errors.ts";
import { metaInfoHandler } from "./handler.ts";
import type { BlobEvent, MetaInfoService } from "./meta-info.ts";
import { testCertificate, testKey } from "./testing/certificate.ts";
import {
  answeringService,
  deadUrl,
  failingService,
  startMute,
  startSeeder,
  startSilent,
  type TestServer,
  testEvents,
  testUrl,
} from "./testing/seeders.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (metainfo: Uint8Array) => new TextDecoder().decode(metainfo);
const CALLERS = 50;

/** What a test opens; all of it is ended with the test, however that ends. */
class TestBed {
  readonly #parts: (() => Promise<void>)[] = [];

  own<T extends { kill(): Promise<void> } | { close(): Promise<void> }>(part: T): T {
    this.#parts.push(() => ("kill" in part ? part.kill() : part.close()));
    return part;
  }

  async seeder(service: MetaInfoService, options: { port?: number } = {}): Promise<TestServer> {
    return this.own(await startSeeder(service, options));
  }

  /** A client whose clock stands unless it is moved, and whose warnings are kept. */
  create(seeders: URL[], options: Partial<MetaInfoClientOptions> = {}) {
    const clock = { now: 0 };
    const warnings: string[] = [];
    const log = {
      debug() {},
      info() {},
      warn: (_: string, fields: Record<string, unknown> = {}) => warnings.push(String(fields.seeder)),
      error() {},
      child: () => log,
    };
    const client = new MetaInfoClient({
      seeders,
      // Far above what a busy machine needs: only tests of the deadline itself wait for one.
      deadlineMs: 60_000,
      backoff: { baseMs: 1000, maxMs: 8000, jitter: 0 },
      now: () => clock.now,
      random: () => 0,
      log,
      ...options,
    });
    this.own(client);
    return { client, clock, warnings };
  }

  async end(): Promise<void> {
    for (const end of this.#parts.splice(0)) await end();
  }
}

function testWith(name: string, body: (bed: TestBed) => Promise<void>): void {
  test(name, async () => {
    const bed = new TestBed();
    try {
      await body(bed);
    } finally {
      await bed.end();
    }
  });
}

async function all(client: MetaInfoClient, count = CALLERS): Promise<string[]> {
  const calls = Array.from({ length: count }, () => client.getMetaInfo({ url: testUrl }));
  return (await Promise.all(calls)).map(text);
}

async function read(events: AsyncIterable<BlobEvent>): Promise<BlobEvent[]> {
  const read: BlobEvent[] = [];
  for await (const event of events) read.push(event);
  return read;
}

/** Sends `first`, then nothing for ever. */
function stuckService(first: BlobEvent): MetaInfoService & { asked: number } {
  const service = {
    asked: 0,
    getMetaInfo: () => new Promise<Uint8Array>(() => {}),
    async *streamMetaInfo() {
      service.asked += 1;
      yield first;
      await new Promise(() => {});
    },
  };
  return service;
}

testWith("round robin over three, the header and the events reach both sides", async (bed) => {
  const services = ["a", "b", "c"].map((name) => answeringService(bytes(name)));
  const servers = await Promise.all(services.map((service) => bed.seeder(service)));
  const { client } = bed.create(servers.map(({ url }) => url));
  const answers = await all(client, 30);
  assert.deepEqual([...answers].sort(), [..."a".repeat(10), ..."b".repeat(10), ..."c".repeat(10)]);
  const { seeder, events } = await client.streamMetaInfo({ url: testUrl, authorization: "Basic abc" });
  const index = servers.findIndex(({ url }) => url === seeder);
  assert.deepEqual(await read(events), testEvents(bytes("abc"[index]!)));
  assert.equal(services[index]!.queries.at(-1)!.authorization, "Basic abc");
  assert.equal(services[index]!.queries.at(-1)!.url, testUrl);
  assert.equal(services[index]!.queries[0]!.authorization, undefined);
});

/** Never ends the TLS handshake. */
async function startMuteTls(): Promise<TestServer> {
  const server = await startMute();
  return { ...server, url: new URL(`https://127.0.0.1:${server.port}`) };
}

const failing: [string, () => Promise<TestServer>][] = [
  ["accepts TCP and says nothing", startMute],
  ["never ends the TLS handshake", startMuteTls],
  ["accepts streams and sends nothing", startSilent],
];
for (const [name, start] of failing) {
  testWith(`one of three seeders ${name}: no call of fifty fails, one outage`, async (bed) => {
    const bad = bed.own(await start());
    const good = await Promise.all(["a", "b"].map((answer) => bed.seeder(answeringService(bytes(answer)))));
    const { client, warnings } = bed.create([bad.url, ...good.map(({ url }) => url)], { deadlineMs: 3000 });
    const answers = await all(client);
    assert.equal(answers.length, CALLERS);
    assert.deepEqual(new Set(answers), new Set(["a", "b"]));
    assert.deepEqual(warnings, [bad.url.host], "counted once");
    await all(client);
    assert.equal(warnings.length, 1, "left alone while it is down");
    await bad.idle(); // the doubtful connection is not kept
  });
}

testWith("a seeder killed under fifty callers: no call fails, one outage, and it is taken back", async (bed) => {
  let release: () => void = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let waiting = 0;
  let halfWait: () => void = () => {};
  const half = new Promise<void>((resolve) => {
    halfWait = resolve;
  });
  const holding: MetaInfoService = {
    getMetaInfo: async () => bytes("held"),
    async *streamMetaInfo() {
      waiting += 1;
      if (waiting === CALLERS / 2) halfWait();
      await held;
      yield* testEvents(bytes("held"));
    },
  };
  const doomed = await bed.seeder(holding);
  const good = await bed.seeder(answeringService(bytes("good")));
  const { client, clock, warnings } = bed.create([doomed.url, good.url]);
  const calls = all(client);
  await half;
  await doomed.kill();
  assert.deepEqual(new Set(await calls), new Set(["good"]));
  assert.deepEqual(warnings, [doomed.url.host]);
  release();

  // Half open: of fifty callers one probes, still in vain, and nobody fails.
  clock.now = 1000;
  assert.deepEqual(new Set(await all(client)), new Set(["good"]));
  assert.equal(warnings.length, 2);

  await bed.seeder(answeringService(bytes("back")), { port: doomed.port });
  clock.now = 2999;
  assert.deepEqual(new Set(await all(client)), new Set(["good"]), "the second wait is twice the first");
  clock.now = 3000;
  await all(client);
  const answers = await all(client);
  assert.equal(answers.filter((answer) => answer === "back").length, CALLERS / 2, "recovered: round robin again");
  assert.equal(warnings.length, 2);
});

testWith("a probe lets one call through; with no other seeder the rest wait for its outcome", async (bed) => {
  const silent = bed.own(await startSilent());
  const { client, clock, warnings } = bed.create([silent.url], { deadlineMs: 500 });
  await assert.rejects(client.getMetaInfo({ url: testUrl }), { code: "deadline_exceeded" });
  assert.equal(client.healthy, false);
  await assert.rejects(client.getMetaInfo({ url: testUrl }), { code: "unavailable" });
  assert.equal(silent.streams(), 1);
  clock.now = 1000;
  assert.equal(client.healthy, true);
  const calls = Array.from({ length: 10 }, () => client.getMetaInfo({ url: testUrl }));
  for (const result of await Promise.allSettled(calls)) assert.equal(result.status, "rejected");
  assert.equal(silent.streams(), 2, "one probe for ten calls");
  assert.equal(warnings.length, 2);
  await silent.kill();
  await bed.seeder(answeringService(bytes("good")), { port: silent.port });
  clock.now = 3000;
  assert.deepEqual(new Set(await all(client, 10)), new Set(["good"]), "all waited for the probe, then went");
});

testWith("the one seeder there is was down, and is found by the first call after its start", async (bed) => {
  const dead = await deadUrl();
  const { client, clock, warnings } = bed.create([dead]);
  for (clock.now = 0; clock.now < 5; clock.now += 1)
    await assert.rejects(client.getMetaInfo({ url: testUrl }), { code: "unavailable" });
  assert.deepEqual(warnings, [dead.host], "told once");
  await bed.seeder(answeringService(bytes("good")), { port: Number(dead.port) });
  assert.deepEqual(new Set(await all(client, 10)), new Set(["good"]));
});

testWith("rendezvous: a key has its seeder; a dead seeder's keys alone move, and come back", async (bed) => {
  const servers = await Promise.all(["a", "b", "c"].map((name) => bed.seeder(answeringService(bytes(name)))));
  const { client, clock } = bed.create(
    servers.map(({ url }) => url),
    { policy: "rendezvous" },
  );
  const keys = Array.from({ length: 60 }, (_, index) => `sha256:${index}`);
  const owners = async () => {
    return await Promise.all(keys.map(async (key) => text(await client.getMetaInfo({ url: testUrl, key }))));
  };
  const first = await owners();
  assert.deepEqual(await owners(), first);
  assert.equal(new Set(first).size, 3);
  await servers[1]!.kill();
  const without = await owners();
  first.forEach((owner, index) => {
    if (owner === "b") assert.notEqual(without[index], "b");
    else assert.equal(without[index], owner);
  });
  await bed.seeder(answeringService(bytes("b")), { port: servers[1]!.port });
  clock.now = 1000;
  await client.getMetaInfo({ url: testUrl, key: keys[first.indexOf("b")]! });
  assert.deepEqual(await owners(), first);
});

testWith("answers are not asked for elsewhere; an origin's trouble is, and is no outage", async (bed) => {
  const challenge = 'Basic realm="r"';
  const codes = [
    "invalid_argument",
    "not_found",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
  ] as const;
  for (const code of [...codes, "unauthenticated"] as const) {
    const bad = await bed.seeder(failingService(new MetaInfoError(code, "said so", { challenge })));
    const other = answeringService(bytes("x"));
    const good = await bed.seeder(other);
    const { client, warnings } = bed.create([bad.url, good.url]);
    await assert.rejects(client.getMetaInfo({ url: testUrl }), {
      name: "MetaInfoError",
      code,
      message: "said so",
      challenge,
    });
    assert.equal(other.queries.length, 0);
    assert.deepEqual(warnings, []);
  }
  const bad = await bed.seeder(failingService(new MetaInfoError("unavailable", "the origin is down")));
  const good = await bed.seeder(answeringService(bytes("x")));
  const { client, warnings } = bed.create([bad.url, good.url]);
  assert.deepEqual(new Set(await all(client, 4)), new Set(["x"]));
  await good.kill();
  await assert.rejects(client.getMetaInfo({ url: testUrl }), { code: "unavailable", message: "the origin is down" });
  assert.deepEqual(warnings, [good.url.host]);
});

testWith("an answer after a sign of life is final too", async (bed) => {
  const service: MetaInfoService = {
    getMetaInfo: () => Promise.reject(new Error("not asked")),
    async *streamMetaInfo() {
      yield { type: "progress", bytes: 0 };
      throw new MetaInfoError("not_found", "no such blob");
    },
  };
  const bad = await bed.seeder(service);
  const good = await bed.seeder(answeringService(bytes("x")));
  const { client } = bed.create([bad.url, good.url]);
  await assert.rejects(client.getMetaInfo({ url: testUrl }), { code: "not_found" });
});

testWith(
  "a stream that breaks midway throws MetaInfoError; avoid leads elsewhere; getMetaInfo goes on by itself",
  async (bed) => {
    const stuck = stuckService(testEvents(bytes("x"))[0]!);
    const doomed = await bed.seeder(stuck);
    const good = await bed.seeder(answeringService(bytes("good")));
    const { client, warnings } = bed.create([doomed.url, good.url]);
    const { seeder, events } = await client.streamMetaInfo({ url: testUrl });
    assert.equal(seeder, doomed.url);
    const iterator = events[Symbol.asyncIterator]();
    assert.equal((await iterator.next()).value.type, "blob");
    const next = assert.rejects(Promise.resolve(iterator.next()), { name: "MetaInfoError", code: "unavailable" });
    await client.getMetaInfo({ url: testUrl });
    const whole = client.getMetaInfo({ url: testUrl });
    while (stuck.asked < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    await doomed.kill();
    await next;
    assert.equal(text(await whole), "good");
    assert.deepEqual(warnings, [doomed.url.host]);
    assert.deepEqual(await iterator.next(), { done: true, value: undefined });
  },
);

testWith(
  "a stream that stalls throws deadline_exceeded, which is no outage; avoid is a wish, not a ban",
  async (bed) => {
    const doomed = await bed.seeder(stuckService({ type: "progress", bytes: 1 }));
    const { client, warnings } = bed.create([doomed.url], { progressTimeoutMs: 500 });
    for (const avoid of [[], [doomed.url]]) {
      const { events } = await client.streamMetaInfo({ url: testUrl, avoid });
      await assert.rejects(read(events), { name: "MetaInfoError", code: "deadline_exceeded" });
    }
    const good = await bed.seeder(answeringService(bytes("good")));
    const both = bed.create([doomed.url, good.url], { progressTimeoutMs: 500 });
    const avoiding = await both.client.streamMetaInfo({ url: testUrl, avoid: [doomed.url] });
    assert.equal(avoiding.seeder, good.url);
    await read(avoiding.events);
    assert.equal(text(await both.client.getMetaInfo({ url: testUrl })), "good");
    assert.deepEqual([...warnings, ...both.warnings], []);
  },
);

testWith(
  "the caller's signal: before, while waiting, while reading; its reason is thrown and nothing is counted",
  async (bed) => {
    const silent = bed.own(await startSilent());
    const stuck = await bed.seeder(stuckService({ type: "progress", bytes: 1 }));
    const reason = new Error("left");
    const waiting = bed.create([silent.url]);
    await assert.rejects(waiting.client.getMetaInfo({ url: testUrl, signal: AbortSignal.abort(reason) }), reason);
    const controller = new AbortController();
    const call = waiting.client.getMetaInfo({ url: testUrl, signal: controller.signal });
    while (silent.streams() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    controller.abort(reason);
    await assert.rejects(call, reason);
    const reading = bed.create([stuck.url]);
    const leaving = new AbortController();
    const { events } = await reading.client.streamMetaInfo({ url: testUrl, signal: leaving.signal });
    await assert.rejects(async () => {
      for await (const _ of events) leaving.abort(reason);
    }, reason);
    assert.deepEqual([...waiting.warnings, ...reading.warnings], []);
    assert.ok(waiting.client.healthy && reading.client.healthy);
  },
);

testWith("a connection that died while idle costs nothing: the one seeder there is was restarted", async (bed) => {
  const first = await bed.seeder(answeringService(bytes("one")));
  const { client, warnings } = bed.create([first.url]);
  assert.deepEqual(new Set(await all(client, 10)), new Set(["one"]));
  await first.kill();
  await bed.seeder(answeringService(bytes("two")), { port: first.port });
  assert.deepEqual(new Set(await all(client, 10)), new Set(["two"]));
  assert.deepEqual(warnings, []);
});

testWith(
  "a kept connection that breaks under the call is tried anew once; a fresh one that breaks is an outage",
  async (bed) => {
    let asked = 0;
    let cutAt = [2];
    const service: MetaInfoService = {
      getMetaInfo: async () => bytes("x"),
      async *streamMetaInfo() {
        asked += 1;
        if (cutAt.includes(asked)) server.cut();
        yield* testEvents(bytes("x"));
      },
    };
    const server = await bed.seeder(service);
    const { client, warnings } = bed.create([server.url]);
    await client.getMetaInfo({ url: testUrl });
    await client.getMetaInfo({ url: testUrl });
    assert.equal(asked, 3);
    assert.deepEqual(warnings, []);
    cutAt = [4, 5];
    await assert.rejects(client.getMetaInfo({ url: testUrl }), { code: "unavailable" });
    assert.equal(asked, 5);
    assert.deepEqual(warnings, [server.url.host]);
  },
);

testWith("nobody there: unavailable, at once", async (bed) => {
  const { client, warnings } = bed.create([await deadUrl(), await deadUrl()]);
  await assert.rejects(client.streamMetaInfo({ url: testUrl }), { name: "MetaInfoError", code: "unavailable" });
  assert.equal(warnings.length, 2);
  assert.equal(client.healthy, false);
  await client.close();
  const nobody = bed.create([]);
  await assert.rejects(nobody.client.getMetaInfo({ url: testUrl }), { code: "unavailable" });
  await nobody.client.close();
});

testWith("what cannot be sent is the caller's fault, not a seeder's", async (bed) => {
  const good = await bed.seeder(answeringService(bytes("good")));
  const { client, warnings } = bed.create([good.url]);
  await assert.rejects(client.getMetaInfo({ url: "x".repeat(70_000) }), { code: "invalid_argument" });
  for (const authorization of ["a\r\nb", "x".repeat(20_000)]) {
    await assert.rejects(client.getMetaInfo({ url: testUrl, authorization }), { code: "invalid_argument" });
  }
  assert.equal(text(await client.getMetaInfo({ url: "x".repeat(21_000), authorization: "x".repeat(16_384) })), "good");
  assert.deepEqual(warnings, []);
});

testWith("a metainfo of several MiB, and a reply over 64 MiB", async (bed) => {
  const large = new Uint8Array(5 * 2 ** 20).fill(7);
  const good = await bed.seeder(answeringService(large));
  const { client } = bed.create([good.url]);
  assert.deepEqual(new Uint8Array(await client.getMetaInfo({ url: testUrl })), large);
  const huge = await bed.seeder(answeringService(new Uint8Array(64 * 2 ** 20)));
  const other = bed.create([huge.url]);
  await assert.rejects(other.client.getMetaInfo({ url: testUrl }), { code: "resource_exhausted" });
});

testWith("close ends calls and streams, and later calls", async (bed) => {
  const silent = bed.own(await startSilent());
  const mute = bed.own(await startMute());
  const stuck = await bed.seeder(stuckService({ type: "progress", bytes: 1 }));
  const clients = [silent, mute, stuck].map(({ url }) => bed.create([url]).client);
  const closed = { name: "MetaInfoError", code: "unavailable", message: /closed/ };
  const calls = clients.slice(0, 2).map((client) => assert.rejects(client.getMetaInfo({ url: testUrl }), closed));
  const { events } = await clients[2]!.streamMetaInfo({ url: testUrl });
  const unread = await clients[2]!.streamMetaInfo({ url: testUrl });
  const reading = assert.rejects(read(events), closed);
  while (silent.streams() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  for (const client of clients) await client.close();
  for (const server of [silent, mute, stuck]) await server.idle();
  await Promise.all(calls);
  await reading;
  await assert.rejects(read(unread.events), closed);
  await assert.rejects(clients[0]!.getMetaInfo({ url: testUrl }), closed);
  assert.equal(clients[0]!.healthy, false);
});

testWith("over TLS, with the cluster's own authority and without", async (bed) => {
  const service = answeringService(bytes("tls"));
  const fetch = () => new Response(null, { status: 404 });
  const tls = { cert: testCertificate, key: testKey };
  const listener = await serve({ host: "127.0.0.1", port: 0, tls, fetch, node: metaInfoHandler(service) });
  bed.own({ close: () => listener.close({ graceMs: 0 }) });
  const trusting = bed.create([new URL(listener.url)], { ca: testCertificate });
  assert.equal(text(await trusting.client.getMetaInfo({ url: testUrl })), "tls");
  const wary = bed.create([new URL(listener.url)]);
  await assert.rejects(wary.client.getMetaInfo({ url: testUrl }), { code: "unavailable" });
});
