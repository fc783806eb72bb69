/** @module Tests of what a host offers to others, apart from the ways they ask for it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ClusterAuth } from "../cluster/cluster-auth.ts";
import { BufferPool } from "./buffer-pool.ts";
import { RateLimiter } from "./limiter.ts";
import { listOf } from "./peer-offer.ts";
import { CHUNK } from "./piece-source.ts";
import { arriving, tempDir, testBlob } from "./testing/blobs.ts";
import { Uploader } from "./uploader.ts";

const peerId = "ab".repeat(20);

test("who asks for a list is told of by one address, however the socket writes it", async () => {
  await using dir = await tempDir();
  const of = testBlob(100_000);
  const live = await arriving(of, dir.path);
  for (const [host, told] of [
    ["::ffff:10.0.0.1", "10.0.0.1"],
    ["10.0.0.1", "10.0.0.1"],
    ["2001:DB8::1", "2001:db8::1"],
  ] as const) {
    const heard: { host: string; port: number; peerId: string }[] = [];
    const handle = { blob: live, source: "cache" as const, release() {}, [Symbol.dispose]() {} };
    const list = listOf(
      {
        blobs: { peek: async () => handle },
        uploader: new Uploader(),
        cluster: new ClusterAuth(),
        limiter: new RateLimiter(0),
        buffers: new BufferPool(CHUNK),
        onPeer: (_, peer) => heard.push(peer),
      },
      handle,
      { peer: `${peerId};6881`, host },
    );
    list.cancel();
    assert.equal(heard.length, 1);
    const [{ port, peerId: id, host: where }] = heard as [(typeof heard)[0]];
    assert.deepEqual({ where, port, id }, { where: told, port: 6881, id: peerId });
  }
  await live.close();
});
