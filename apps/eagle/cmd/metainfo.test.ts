/**
 * @module What a seeder tells of a blob, for people and for programs.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { decodeMetainfo, infoHash } from "../../../lib/bt/metainfo.ts";
import { REPOSITORY } from "../demo/origin.ts";
import { eagle } from "../testing/run-eagle.ts";
import { type SmallWorld, smallWorld } from "../testing/small-world.ts";

let world: SmallWorld;
let url: string;
before(async () => {
  world = await smallWorld({ proxies: 0 });
  url = `http://${world.origin.authority}/v2/${REPOSITORY}/blobs/${world.image.blobs[1]!.digest}`;
});
after(() => world[Symbol.asyncDispose]());

test("for programs: what the torrent says", async () => {
  const { digest, size } = world.image.blobs[1]!;
  const { code, stdout, stderr } = await eagle(["metainfo", url, "--seeder", world.cluster.seeder.url, "--json"]);
  assert.equal(code, 0, stderr);
  const facts = JSON.parse(stdout);
  assert.equal(facts.digest, digest);
  assert.equal(facts.size, size);
  assert.equal(facts.pieces, Math.ceil(size / facts.pieceLength));
  const response = await fetch(facts.torrent);
  assert.equal(response.status, 200);
  const torrent = decodeMetainfo(new Uint8Array(await response.arrayBuffer()));
  assert.equal(Buffer.from(infoHash(torrent)).toString("hex"), facts.infoHash);
});

test("for people; a path means the seeder's default registry", async () => {
  const { code, stdout } = await eagle(["metainfo", new URL(url).pathname, "--seeder", world.cluster.seeder.url]);
  assert.equal(code, 0);
  for (const line of [/^name +[0-9a-f]{64}\.layer$/m, /^piece length +524288 bytes/m, /^info hash +[0-9a-f]{40}$/m])
    assert.match(stdout, line);
});

test("failures say what happened, without a stack", async () => {
  const missing = url.replace(/[0-9a-f]{64}$/, "0".repeat(64));
  const [notFound, noSeeder, noBlob] = await Promise.all([
    eagle(["metainfo", missing, "--seeder", world.cluster.seeder.url]),
    eagle(["metainfo", url, "--seeder", "127.0.0.1:1"]),
    eagle(["metainfo", "https://example.com/", "--seeder", world.cluster.seeder.url]),
  ]);
  for (const { code, stderr } of [notFound, noSeeder, noBlob]) {
    assert.equal(code, 1);
    assert.match(stderr, /^eagle metainfo: /);
    assert.doesNotMatch(stderr, /\n {4}at /);
  }
  assert.match(notFound.stderr, /404|not found/i);
  assert.match(noSeeder.stderr, /127\.0\.0\.1:1/);
});
