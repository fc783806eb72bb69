/**
 * @module Wire peers that lie or break the protocol: they are left, the pull ends right, and it costs little.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { decodeMetainfo, infoHash, type Metainfo } from "../../lib/bt/metainfo.ts";
import { message, WirePeer, type WirePeerInit } from "../../lib/bt/wire/testing/wire-peer.ts";
import { silentLogger } from "../../lib/log/log.ts";
import { TrackerClient } from "../../lib/tracker/client.ts";
import { MetainfoOnly } from "../interop/metainfo-only.ts";
import { askMetainfo, letIn } from "../interop/swarm.ts";
import { content } from "../rig/blob-content.ts";
import { type Cluster, startCluster } from "../rig/cluster.ts";
import { pullBlob } from "../rig/expect-blob.ts";
import type { Descriptor } from "../rig/image.ts";
import { sumOf } from "../rig/metrics-text.ts";
import { freePort } from "../rig/ports.ts";
import { Rig } from "../rig/rig.ts";
import { need } from "../rig/tools.ts";

const skip = need({ tools: ["docker-registry"] });
const repository = "library/wire-lies";
const size = 30_000_000;

/** What the bad one does instead of an honest answer. */
const lies: Record<string, Partial<WirePeerInit>> = {
  "wrong bytes": { block: (_piece, _offset, length) => randomBytes(length) },
  "no answer": { block: () => undefined },
  "a message of 2 GB": { greeting: Buffer.concat([Buffer.from([0x7f, 0xff, 0xff, 0xff, 7]), Buffer.alloc(1 << 20)]) },
  rubbish: { greeting: randomBytes(1 << 20) },
  "blocks nobody asked for": {
    greeting: Buffer.concat(Array.from({ length: 64 }, () => message(7, Buffer.alloc(8), randomBytes(16_384)))),
  },
};

describe("a bad wire peer beside a good one", { skip }, () => {
  let rig: Rig;
  let cluster: Cluster;
  let wirePort: number;
  let pulled: { blob: Descriptor; metainfo: Metainfo } | undefined;

  before(async () => {
    rig = await Rig.create();
    cluster = await startCluster(rig, { proxies: 0, seederConfig: { seederCfg: { bittorrent: false, trackers: [] } } });
    const front = rig.use(await MetainfoOnly.start(cluster.seeder.url));
    wirePort = await freePort();
    await cluster.addProxy({ seeders: [front.url], config: { clientCfg: { port: wirePort } } });
  });
  after(() => rig.close());

  for (const [name, lie] of Object.entries(lies)) {
    test(name, async () => {
      await cluster.origin.up();
      const blob = await cluster.pushBlob(repository, size, { seed: name });
      const metainfo = decodeMetainfo(await askMetainfo(cluster.seeder, repository, blob));
      const bytes = Buffer.concat([...content("random", `${repository} ${size} ${name}`, size)]);
      const honest = honestPeer(metainfo, bytes);
      const good = rig.use(await WirePeer.start(honest));
      const bad = rig.use(await WirePeer.start({ ...honest, ...lie }));
      for (const peer of [good, bad]) await announce(cluster, metainfo, peer);
      const proxy = cluster.proxy();
      await letIn(proxy, repository, blob);
      await cluster.origin.down();
      const [wireBefore, badBefore] = [await wireIn(cluster), await badPieces(cluster)];
      await pullBlob(proxy, repository, blob);
      pulled = { blob, metainfo };
      assert.ok(bad.handshakes >= 1, "the bad one was met");
      const received = (await wireIn(cluster)) - wireBefore;
      assert.ok(received >= size && received < 1.1 * size, `${received} of ${size} bytes`);
      if (name === "wrong bytes") {
        assert.equal((await badPieces(cluster)) - badBefore, 1, "banned after its first bad piece");
        assert.ok(bad.asked.size <= 2, `asked for ${bad.asked.size} pieces`);
        assert.equal(bad.handshakes, 1, "not met again");
      }
    });
  }

  test("knocks at the wire's port do no harm", async () => {
    assert.ok(pulled);
    const hash = infoHash(pulled.metainfo);
    const shake = Buffer.concat([
      Buffer.from("\x13BitTorrent protocol", "latin1"),
      Buffer.alloc(8),
      hash,
      randomBytes(20),
    ]);
    const unknown = Buffer.concat([shake.subarray(0, 28), randomBytes(20), randomBytes(20)]);
    const knocks = [Buffer.alloc(0), randomBytes(1000), unknown, Buffer.from("GET / HTTP/1.1\r\n\r\n")];
    for (let round = 0; round < 40; round++) {
      knocks.push(Buffer.concat([shake, randomBytes(4096)]));
      knocks.push(
        Buffer.concat([shake, message(Math.floor(Math.random() * 24), randomBytes(Math.floor(Math.random() * 40)))]),
      );
    }
    knocks.push(Buffer.concat([shake, message(20, Buffer.from([0]), Buffer.from("d1:md"))]));
    knocks.push(Buffer.concat([shake, message(20, Buffer.from([1]), Buffer.from("x"))]));
    await Promise.all(knocks.map((bytes) => knock(wirePort, bytes)));
    assert.equal(await cluster.proxy().health(), 200);
    await pullBlob(cluster.proxy(), repository, pulled.blob);
  });
});

function honestPeer(metainfo: Metainfo, bytes: Buffer): WirePeerInit {
  const { layout } = metainfo;
  return {
    infoHash: infoHash(metainfo),
    pieces: layout.count,
    block: (piece, offset, length) =>
      bytes.subarray(layout.start(piece) + offset, layout.start(piece) + offset + length),
  };
}

async function announce(cluster: Cluster, metainfo: Metainfo, { peerId, port }: WirePeer): Promise<void> {
  const tracker = new TrackerClient({ trackers: [[cluster.tracker.url]], peerId, port, log: silentLogger });
  await tracker.announce(infoHash(metainfo), { event: "started", left: 0 });
  await tracker.close();
}

function wireIn(cluster: Cluster): Promise<number> {
  return cluster.proxy().bytes({ source: "wire", direction: "in" });
}

async function badPieces(cluster: Cluster): Promise<number> {
  return sumOf(await cluster.proxy().metrics(), "eagle_bad_pieces", { kind: "wire" });
}

/** Sends bytes and waits until the other side closes, or for a moment. */
async function knock(port: number, bytes: Uint8Array): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.on("data", () => {});
  await new Promise<void>((resolve) => {
    socket.once("close", () => resolve());
    setTimeout(() => socket.destroy(), 500);
    socket.write(bytes);
  });
}
