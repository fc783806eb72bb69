/** @module Tests of the wire: what it gives, what it takes, what it refuses, and what it costs before it is used. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeBencode } from "../../bencode/bencode.ts";
import { HttpClient } from "../../http/client.ts";
import { silentLogger } from "../../log/log.ts";
import { createMetrics } from "../../metrics/metrics.ts";
import { packAddress } from "../../tracker/address.ts";
import { fakeTracker } from "../../tracker/fake-tracker.ts";
import { Download } from "../download.ts";
import { RateLimiter } from "../limiter.ts";
import type { LiveBlob } from "../live-blob.ts";
import { infoHash } from "../metainfo.ts";
import { createPeerId } from "../peer-id.ts";
import { Precedence } from "../precedence.ts";
import { arriving, type TestBlob, tempDir, testBlob, until } from "../testing/blobs.ts";
import { Leecher, numbers } from "./testing/leecher.ts";
import { WirePeer } from "./testing/wire-peer.ts";
import { Wire } from "./wire.ts";

const test1 = testBlob(300_000, { pieceLength: 64 * 1024 });
const hash = infoHash(test1.metainfo);
const hex = Buffer.from(hash).toString("hex");

interface Rig extends AsyncDisposable {
  readonly wire: Wire;
  readonly blob: LiveBlob;
  readonly limiter: RateLimiter;
  /** Handles not released yet. */
  pins(): number;
}

/** A wire that offers one blob, whole or as far as `pieces` go. */
async function rig(
  options: { of?: TestBlob; pieces?: number[]; tracker?: URL; isPublic?: boolean; rate?: number } = {},
): Promise<Rig> {
  const { of = test1, tracker, isPublic = true, rate = 0 } = options;
  const { pieces = [...Array(of.layout.count).keys()] } = options;
  const stack = new AsyncDisposableStack();
  const directory = stack.use(await tempDir());
  const blob = await arriving(of, directory.path);
  stack.defer(() => blob.close());
  blob.isPublic = isPublic;
  for (const piece of pieces) await blob.store(piece, of.piece(piece), "origin");
  const http = new HttpClient();
  stack.defer(() => http.close());
  const limiter = new RateLimiter(rate);
  let pins = 0;
  const wire = new Wire({
    peerId: createPeerId(),
    trackers: tracker ? [[tracker]] : [],
    http,
    limiter,
    precedence: new Precedence(),
    log: silentLogger,
    metrics: createMetrics("proxy"),
    async peek() {
      pins += 1;
      let released = false;
      const release = () => {
        if (!released) pins -= 1;
        released = true;
      };
      return { blob, source: "cache", release, [Symbol.dispose]: release };
    },
  });
  stack.use(wire);
  await wire.listen({ host: "127.0.0.1", port: 0 });
  wire.offer(of.digest.toString(), of.metainfo);
  return { wire, blob, limiter, pins: () => pins, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

describe("what the wire gives", () => {
  test("blocks of a whole blob; nothing is loaded before somebody asks", async () => {
    const { wire, pins, ...host } = await rig();
    await using _ = host;
    assert.equal(wire.loaded, false);
    const leecher = await Leecher.connect(wire.port, { infoHash: hash });
    await leecher.next(0x0e);
    assert.ok(leecher.handshake!.subarray(28, 48).equals(hash));
    assert.equal(wire.loaded, true);
    assert.equal(pins(), 1);
    leecher.interested();
    await leecher.next(1);
    const places = test1.layout.count - 1;
    for (const [piece, offset, length] of [
      [0, 0, 16_384],
      [1, 16_384, 16_384],
      [places, 0, 1000],
      [0, 1, 1],
    ] as const) {
      leecher.request(piece, offset, length);
      const { body } = await leecher.next(7);
      assert.deepEqual(body.subarray(0, 8), numbers(piece, offset));
      assert.ok(body.subarray(8).equals(test1.piece(piece).subarray(offset, offset + length)));
    }
    leecher.close();
  });

  test("what has arrived of one that arrives, and the rest as it comes", async () => {
    const { wire, blob, ...host } = await rig({ pieces: [1, 3] });
    await using _ = host;
    const leecher = await Leecher.connect(wire.port, { infoHash: hash, fast: false });
    assert.deepEqual([...(await leecher.next(5)).body], [0b01010000]);
    leecher.interested();
    await leecher.next(1);
    await blob.store(2, test1.piece(2), "origin");
    assert.deepEqual((await leecher.next(4)).body, numbers(2));
    leecher.request(2, 0, 16_384);
    assert.ok((await leecher.next(7)).body.subarray(8).equals(test1.piece(2).subarray(0, 16_384)));
    leecher.close();
  });

  test("no more than asked for within bounds: the rest is refused", async () => {
    const { wire, ...host } = await rig({ pieces: [0, 1] });
    await using _ = host;
    const leecher = await Leecher.connect(wire.port, { infoHash: hash });
    leecher.interested();
    await leecher.next(1);
    for (const [piece, offset, length] of [
      [2, 0, 16_384],
      [0, 60_000, 16_384],
      [99, 0, 1],
      [-1, 0, 1],
      [0, -5, 10],
      [0, 0, 0],
    ]) {
      leecher.request(piece!, offset!, length!);
      assert.deepEqual((await leecher.next(0x10)).body, numbers(piece!, offset!, length!));
    }
    leecher.request(0, 0, 1 << 20);
    await leecher.closed;
  });

  test("within the host's limit", async () => {
    const { wire, limiter, ...host } = await rig({ rate: 1_000_000_000 });
    await using _ = host;
    let taken = 0;
    const take = limiter.take.bind(limiter);
    limiter.take = (bytes, turn) => {
      assert.equal(turn?.key, test1.digest.hex);
      taken += bytes;
      return take(bytes, turn);
    };
    const leecher = await Leecher.connect(wire.port, { infoHash: hash });
    leecher.interested();
    await leecher.next(1);
    leecher.request(0, 0, 16_384);
    await leecher.next(7);
    assert.equal(taken, 16_384);
    leecher.close();
  });

  test("a peer that asks and does not read holds little", async () => {
    const large = testBlob(40_000_000, { pieceLength: 1024 * 1024 });
    const { wire, limiter, ...host } = await rig({ of: large });
    await using _ = host;
    let taken = 0;
    limiter.take = async (bytes) => {
      taken += bytes;
    };
    const leecher = await Leecher.connect(wire.port, { infoHash: infoHash(large.metainfo) });
    leecher.interested();
    await leecher.next(1);
    leecher.pause();
    const block = 128 * 1024;
    for (let at = 0; at + block <= large.layout.size; at += block) {
      leecher.request(large.layout.pieceAt(at), at % (1024 * 1024), block);
    }
    await until(() => taken > 1 << 20, "some are read");
    await new Promise((resolve) => setTimeout(resolve, 300));
    // The kernel's buffers take some MB by themselves.
    assert.ok(taken < large.layout.size / 2, `${taken} bytes were read for it`);
    leecher.close();
  });
});

describe("what the wire refuses, without loading anything", () => {
  for (const [name, infoHash] of [["a blob that is not here", Buffer.alloc(20, 7)]] as const) {
    test(name, async () => {
      const { wire, ...host } = await rig();
      await using _ = host;
      const leecher = await Leecher.connect(wire.port, { infoHash });
      await leecher.closed;
      assert.equal(wire.loaded, false);
    });
  }

  test("a blob that has left", async () => {
    const { wire, ...host } = await rig();
    await using _ = host;
    wire.withdraw(test1.digest.toString());
    const leecher = await Leecher.connect(wire.port, { infoHash: hash });
    await leecher.closed;
    assert.equal(wire.loaded, false);
  });

  test("a private blob, whoever knows its info hash", async () => {
    const { wire, pins, ...host } = await rig({ isPublic: false });
    await using _ = host;
    const leecher = await Leecher.connect(wire.port, { infoHash: hash });
    await leecher.closed;
    assert.equal(wire.loaded, false);
    assert.equal(pins(), 0);
  });
});

test("a blob that leaves while it is served is served no longer, and unpinned", async () => {
  const { wire, pins, ...host } = await rig();
  await using _ = host;
  const leecher = await Leecher.connect(wire.port, { infoHash: hash });
  await leecher.next(0x0e);
  wire.withdraw(test1.digest.toString());
  await leecher.closed;
  assert.equal(pins(), 0);
  assert.equal(wire.torrents, 0);
});

describe("what the wire takes", () => {
  const seed = { infoHash: hash, pieces: test1.layout.count };
  const honest = (piece: number, offset: number, length: number) =>
    test1.piece(piece).subarray(offset, offset + length);

  /** Downloads from wire peers alone. */
  async function fetchFrom(peers: readonly WirePeer[]) {
    const stack = new AsyncDisposableStack();
    const list = Buffer.concat(peers.map(({ port }) => packAddress("127.0.0.1", port)));
    const answer = encodeBencode(
      new Map<string, number | Uint8Array>([
        ["interval", 60],
        ["peers", list],
      ]),
    );
    const tracker = stack.use(await fakeTracker((res) => res.end(answer)));
    const host = stack.use(await rig({ pieces: [], tracker: tracker.url }));
    const liars: string[] = [];
    const download = new Download({
      blob: host.blob,
      limiter: new RateLimiter(0),
      log: silentLogger,
      onLiar: (source) => liars.push(source.name),
    });
    const ended = new AbortController();
    stack.defer(() => ended.abort());
    const joined = stack.use(host.wire.join(host.blob, download));
    await download.run(AbortSignal.any([ended.signal, AbortSignal.timeout(30_000)]));
    joined[Symbol.dispose]();
    await host.blob.done;
    return { ...host, tracker, liars, [Symbol.asyncDispose]: () => stack.disposeAsync() };
  }

  test("a blob from a seed that a tracker tells of", async () => {
    const peer = await WirePeer.start({ ...seed, block: honest });
    try {
      await using done = await fetchFrom([peer]);
      assert.equal(done.blob.verified, true);
      assert.equal(done.blob.sourceOf(0), "wire");
      assert.equal(peer.sent, test1.layout.size);
      const asked = done.tracker.asked[0]!;
      assert.equal(asked.query.get("port"), String(done.wire.port));
      assert.ok(asked.target.includes(hex.replace(/../g, "%$&")), "the info hash, not the key of Eagle's own swarm");
      assert.equal(asked.query.get("event"), "started");
    } finally {
      await peer.close();
    }
  });

  test("nothing wrong: a liar is banned after its first bad piece", async () => {
    const bad = await WirePeer.start({ ...seed, block: (_piece, _offset, length) => Buffer.alloc(length, 1) });
    const good = await WirePeer.start({ ...seed, block: honest });
    try {
      await using done = await fetchFrom([bad, good]);
      assert.equal(done.blob.verified, true);
      assert.deepEqual(done.liars, [`127.0.0.1:${bad.port}`]);
      assert.equal(bad.handshakes, 1);
      assert.equal(done.wire.bans.has({ host: "127.0.0.1", port: bad.port }), true);
      assert.equal(done.wire.bans.has({ host: "127.0.0.1", port: 1, peerId: bad.peerId.toString("hex") }), true);
      assert.equal(done.wire.bans.has({ host: "127.0.0.1", port: good.port }), false);
    } finally {
      await bad.close();
      await good.close();
    }
  });
});
