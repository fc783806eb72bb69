/**
 * @module A seeder whose bucket has a blob of 5 GiB, and whose hot tier holds 1 GiB, serves eight hosts at once within
 * 300 MB of memory.
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import http from "node:http";
import { test } from "node:test";
import { Layout } from "../../lib/bt/layout.ts";
import { encodeMetainfo } from "../../lib/bt/metainfo.ts";
import { storageBackends } from "../../lib/storage/index.ts";
import { type EagleApp, startSeeder } from "../rig/eagle.ts";
import { Rig } from "../rig/rig.ts";
import { swift } from "../rig/s3-servers.ts";
import { need } from "../rig/tools.ts";

const gibibyte = 1024 ** 3;
const size = 5 * gibibyte;
const limit = 300_000_000;
const hosts = 8;
/** Pieces that each host reads from the common beginning, besides an eighth of the blob of its own. */
const common = 64;

test("5 GiB from a bucket to eight hosts", { skip: need({ tools: swift.tools }), timeout: 900_000 }, async (t) => {
  const rig = await Rig.for(t);
  const { config } = await swift.start(rig);
  const layout = new Layout(size);
  const blob = await storeBlob(rig, { config, layout });
  const { endpoint, ...s3 } = config;
  const seeder = await startSeeder(rig, {
    trackers: [],
    origin: "127.0.0.1:1",
    config: { seederCfg: { storageBackend: "s3", limitSize: "1G", s3: { ...s3, endpoint: endpoint.href } } },
  });
  const began = performance.now();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 2 * hosts });
  let bytes = 0;
  const readers = Array.from({ length: hosts }, async (_, host) => {
    const share = Math.ceil(layout.count / hosts);
    const own = Array.from({ length: share }, (_, index) => host * share + index).filter(
      (piece) => piece < layout.count,
    );
    const pieces = [...Array.from({ length: common }, (_, piece) => piece), ...own];
    // Two at once, as an Eagle host asks a seeder.
    const next = pieces[Symbol.iterator]();
    const lane = async () => {
      for (const piece of next) {
        const got = await readPiece(seeder, {
          agent,
          digest: blob.digest,
          start: layout.start(piece),
          end: layout.end(piece),
        });
        assert.equal(got.sha1, blob.sha1s[piece], `piece ${piece}`);
        bytes += got.bytes;
      }
    };
    await Promise.all([lane(), lane()]);
  });
  await Promise.all(readers);
  agent.destroy();
  const seconds = (performance.now() - began) / 1000;
  const { peak, resident } = seeder.process.memory();
  t.diagnostic(`${Math.round(bytes / 1e6)} MB in ${Math.round(seconds)} s (${Math.round(bytes / seconds / 1e6)} MB/s)`);
  t.diagnostic(`seeder: ${Math.round(peak / 1e6)} MB at most, ${Math.round(resident / 1e6)} MB at the end`);
  assert.ok(bytes >= size);
  assert.ok(peak < limit, `${peak} bytes`);
});

/** Puts a blob and its metainfo into the bucket, as an earlier seeder would have. */
async function storeBlob(
  rig: Rig,
  { config, layout }: { config: Parameters<typeof storageBackends.s3>[0]["s3"]; layout: Layout },
): Promise<{ digest: string; sha1s: string[] }> {
  const base = randomBytes(layout.pieceLength);
  const pieceOf = (piece: number) => {
    base.writeUInt32BE(piece, 0);
    return base.subarray(0, layout.length(piece));
  };
  const sha256 = createHash("sha256");
  const pieces = Buffer.alloc(layout.count * 20);
  for (let piece = 0; piece < layout.count; piece++) {
    const bytes = pieceOf(piece);
    sha256.update(bytes);
    createHash("sha1")
      .update(bytes)
      .digest()
      .copy(pieces, piece * 20);
  }
  const id = sha256.digest("hex");
  await using storage = await storageBackends.s3({ rootDirectory: rig.path("loader"), s3: config });
  async function* stream() {
    for (let piece = 0; piece < layout.count; piece++) yield pieceOf(piece);
  }
  await storage.createWithMetaInfo(id, encodeMetainfo({ id, layout, pieces, isPublic: true }));
  await storage.upload(id, stream(), { verify: true });
  const sha1s = Array.from({ length: layout.count }, (_, piece) =>
    pieces.subarray(piece * 20, piece * 20 + 20).toString("hex"),
  );
  return { digest: `sha256:${id}`, sha1s };
}

function readPiece(
  seeder: EagleApp,
  { agent, digest, start, end }: { agent: http.Agent; digest: string; start: number; end: number },
): Promise<{ bytes: number; sha1: string }> {
  const url = new URL(`/p2p/v1/blobs/${digest}`, seeder.url);
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent, headers: { range: `bytes=${start}-${end - 1}` } }, (response) => {
      const hash = createHash("sha1");
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        hash.update(chunk);
        bytes += chunk.length;
      });
      response.on("end", () => resolve({ bytes, sha1: hash.digest("hex") }));
      response.on("error", reject);
    });
    request.on("error", reject);
  });
}
