/** @module Tests of a tracker that knows the parts of its cluster. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ClusterAuth } from "../../../lib/cluster/cluster-auth.ts";
import { ClusterHttp } from "../../../lib/cluster/cluster-http.ts";
import { HttpClient } from "../../../lib/http/client.ts";
import { serve } from "../../../lib/http/server.ts";
import { TrackerClient, TrackerError } from "../../../lib/tracker/client.ts";
import { Heartbeat } from "../../../lib/tracker/heartbeat.ts";
import { swarmKey } from "../../../lib/tracker/keys.ts";
import { createTrackerApp } from "./index.ts";

const secret = "a secret of the cluster";
const digest = `sha256:${"a".repeat(64)}`;
const key = swarmKey(digest);
const peerId = (name: string) => Buffer.from(name.padEnd(20, "-"));

/** A tracker, and clients of it. */
async function withTracker(
  cluster: ClusterAuth,
  run: (rig: {
    url: URL;
    client(name: string, options?: { secret?: string; isClosed?: boolean; host?: string }): TrackerClient;
    http(secret?: string): ClusterHttp;
  }) => Promise<void>,
): Promise<void> {
  const app = createTrackerApp({ cluster });
  const listener = await serve({ host: "127.0.0.1", port: 0, fetch: (request, env) => app.fetch(request, env) });
  const http = new HttpClient();
  const url = new URL(listener.url);
  const signed = (own?: string) => new ClusterHttp(http, new ClusterAuth({ secret: own }));
  let port = 7000;
  try {
    await run({
      url,
      http: signed,
      client: (name, { secret: own, isClosed = own !== undefined, host } = {}) =>
        new TrackerClient({
          trackers: [[url]],
          peerId: peerId(name),
          port: ++port,
          isClosed,
          http: signed(own),
          ...(host ? { host } : {}),
        }),
    });
  } finally {
    await listener.close({ graceMs: 0 });
    await http.close();
  }
}

const isRefused = (error: unknown) => error instanceof TrackerError && error.code === "refused";

test("parts find each other; strangers are refused, and are not in their swarm even if they come as ordinary clients", async () => {
  await withTracker(new ClusterAuth({ secret }), async ({ client, url }) => {
    const [one, two] = [client("one", { secret }), client("two", { secret })];
    await one.announce(key, { event: "started", left: 1 });
    await assert.rejects(client("stranger").announce(key, { left: 1 }), isRefused);
    await assert.rejects(client("stranger", { secret: "another secret" }).announce(key, { left: 1 }), isRefused);
    // Without the mark of Eagle: a standard client of that info hash.
    const hash = Buffer.from(key).toString("hex").replace(/../g, "%$&");
    const query = `info_hash=${hash}&peer_id=${"x".repeat(20)}&port=6881&left=0&compact=0`;
    for (const more of ["", "&closed=1", "&closed=1&headers=x"]) {
      const text = await (await fetch(new URL(`/announce?${query}${more}`, url))).text();
      assert.doesNotMatch(text, /failure|7001/, more);
    }
    const scraped = await (await fetch(new URL(`/scrape?info_hash=${hash}`, url))).text();
    assert.match(scraped, /8:completei1e.*10:incompletei0e/, "strangers see strangers");
    const { peers } = await two.announce(key, { left: 1 });
    assert.deepEqual(
      peers.map(({ port }) => port),
      [7001],
    );
  });
});

test("a part may enter an open swarm as well", async () => {
  await withTracker(new ClusterAuth({ secret }), async ({ client, url }) => {
    const hash = "%11".repeat(20);
    await fetch(new URL(`/announce?info_hash=${hash}&peer_id=${"x".repeat(20)}&port=6881&left=0`, url));
    const { peers } = await client("wire", { secret, isClosed: false }).announce(Buffer.alloc(20, 0x11), { left: 1 });
    assert.deepEqual(
      peers.map(({ port }) => port),
      [6881],
    );
  });
});

test("where a part says it is reached is believed, and only of parts", async () => {
  await withTracker(new ClusterAuth({ secret }), async ({ client }) => {
    await client("one", { secret, host: "203.0.113.7" }).announce(key, { left: 1 });
    const { peers } = await client("two", { secret }).announce(key, { left: 1 });
    assert.equal(peers[0]?.host, "203.0.113.7");
  });
  await withTracker(new ClusterAuth(), async ({ client }) => {
    await client("one", { secret, host: "203.0.113.7" }).announce(key, { left: 1 });
    const { peers } = await client("two").announce(key, { left: 1 });
    assert.equal(peers[0]?.host, "127.0.0.1");
  });
});

test("heartbeats are taken from parts, with the address they name", async () => {
  await withTracker(new ClusterAuth({ secret }), async ({ client, url, http }) => {
    const common = { trackers: [[url]], port: 7777, intervalMs: 50 };
    const part = new Heartbeat({ ...common, peerId: peerId("holder"), host: "203.0.113.8", http: http(secret) });
    const stranger = new Heartbeat({ ...common, port: 6666, peerId: peerId("evil"), http: http() });
    for (const beat of [part, stranger]) {
      beat.add(digest);
      beat.start();
    }
    const asker = client("asker", { secret });
    let found: { host: string; port: number }[] = [];
    for (let round = 0; round < 200 && found.length === 0; round++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      found = (await asker.announce(key, { left: 1 })).peers;
    }
    await Promise.all([part.stop(), stranger.stop()]);
    assert.deepEqual(
      found.map(({ host, port }) => [host, port]),
      [["203.0.113.8", 7777]],
    );
  });
});
