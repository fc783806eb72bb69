/** @module Tests of how a blob's layout and piece hashes come: from peers that answer or not, from seeders that read or not. */
import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { test } from "node:test";
import { ClusterAuth } from "../cluster/cluster-auth.ts";
import { HttpClient } from "../http/client.ts";
import { serve } from "../http/server.ts";
import { silentLogger } from "../log/log.ts";
import { MetaInfoError } from "../rpc/errors.ts";
import type { BlobEvent } from "../rpc/meta-info.ts";
import type { FetchContext } from "./fetch.ts";
import { encodeMetainfo } from "./metainfo.ts";
import { MetainfoFeed } from "./metainfo-feed.ts";
import type { PeerEndpoint } from "./sources/connection.ts";
import { arriving, tempDir, testBlob, until } from "./testing/blobs.ts";
import { timeBounds } from "./time-bounds.ts";

const blob = testBlob(2_300_000);

/** A feed of a blob of which nothing is known. */
async function feedOf(path: string, { firstByteTimeout = 5, metainfo }: FeedInit = {}) {
  const live = await arriving(blob, path, { begun: false });
  const http = new HttpClient();
  const context = { metainfo, http, bounds: timeBounds({ firstByteTimeout, downloadTimeout: 2 }), maxSize: 1e9 };
  const feed = new MetainfoFeed({
    blob: live,
    request: { url: "http://r/v2/a/b/blobs/x", origin: { name: "origin", read: assert.fail }, isPublic: true },
    context: context as unknown as FetchContext,
    cluster: new ClusterAuth(),
    asPart: false,
    log: silentLogger,
    onSeeder() {},
  });
  return {
    feed,
    live,
    async [Symbol.asyncDispose]() {
      await http.close();
      await live.close();
    },
  };
}

interface FeedInit {
  /** Seconds. */
  readonly firstByteTimeout?: number;
  readonly metainfo?: FetchContext["metainfo"];
}

/** A peer that takes connections and says nothing. */
async function mutePeer() {
  const open = new Set<Socket>();
  let calls = 0;
  const server = createServer((socket) => {
    calls++;
    open.add(socket);
    socket.on("error", () => {}).on("close", () => open.delete(socket));
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    peer: { host: "127.0.0.1", port } satisfies PeerEndpoint,
    open,
    calls: () => calls,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const live = () => new AbortController().signal;

test("peers that are silent keep nobody from being asked, and are let go once one tells", {
  timeout: 20_000,
}, async () => {
  await using dir = await tempDir();
  await using mute = await mutePeer();
  const listener = await serve({
    host: "127.0.0.1",
    port: 0,
    fetch: () => new Response(encodeMetainfo(blob.metainfo) as Uint8Array<ArrayBuffer>),
  });
  // The time for all of them is far longer than the test's.
  await using host = await feedOf(dir.path, { firstByteTimeout: 200 });
  const peers = new Map<string, PeerEndpoint>();
  for (let index = 0; index < 10; index++) peers.set(`mute ${index}`, mute.peer);
  peers.set("good", { host: "127.0.0.1", port: listener.port });
  await host.feed.fromPeers(peers, { allHeard: () => true, signal: live() });
  assert.equal(host.feed.hashesFrom, "good");
  assert.ok(host.live.hashes?.complete);
  assert.ok(mute.calls() > 0, "they were asked");
  await until(() => mute.open.size === 0, "the end of the other questions");
  await listener.close({ graceMs: 0 });
});

test("all peers together are waited for no longer than one, and few are asked at once", {
  timeout: 20_000,
}, async () => {
  await using dir = await tempDir();
  await using mute = await mutePeer();
  await using host = await feedOf(dir.path, { firstByteTimeout: 0.4 });
  const peers = new Map(Array.from({ length: 200 }, (_, index) => [`mute ${index}`, mute.peer]));
  await host.feed.fromPeers(peers, { allHeard: () => true, signal: live() });
  assert.equal(host.feed.hashesFrom, undefined);
  assert.ok(mute.calls() < 20, `${mute.calls()} were asked`);
  await until(() => mute.open.size === 0, "the end of all questions");
});

test("a seeder's progress is what it has read since, in each stream for itself", async () => {
  await using dir = await tempDir();
  const KiB = 1024;
  const streams = [
    // Where it stands; a sign of life; a trickle, until it adds up; a step; less than before.
    [0, 0, 5000, 10_000, 16 * KiB, 20 * KiB, 400 * KiB, 400 * KiB, 8],
    [300 * KiB, 300 * KiB, 320 * KiB, 320 * KiB],
  ];
  let opened = 0;
  async function* events(): AsyncGenerator<BlobEvent> {
    for (const bytes of streams[opened++] ?? []) yield { type: "progress", bytes };
    throw new MetaInfoError("unavailable", "broke");
  }
  const streamMetaInfo = async () => ({ seeder: new URL(`http://127.0.0.${opened}:1`), events: events() });
  await using host = await feedOf(dir.path, { metainfo: { streamMetaInfo } });
  const told: number[] = [];
  host.live.subscribe((change) => change.type === "progress" && told.push(change.bytes));
  await assert.rejects(host.feed.followSeeders(live()), MetaInfoError);
  assert.deepEqual(told, [16 * KiB, 400 * KiB, 320 * KiB]);
});
