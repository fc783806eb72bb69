import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ClusterAuth } from "../cluster/cluster-auth.ts";
import { HttpClient } from "../http/client.ts";
import { serve } from "../http/server.ts";
import { Bitfield } from "./bitfield.ts";
import { BufferPool } from "./buffer-pool.ts";
import { RateLimiter } from "./limiter.ts";
import { peerDirect } from "./peer-direct.ts";
import type { PeerOfferInit } from "./peer-offer.ts";
import { peerRoutes } from "./peer-routes.ts";
import { CHUNK } from "./piece-source.ts";
import { arriving, tempDir, testBlob } from "./testing/blobs.ts";
import { Uploader } from "./uploader.ts";
import { HEADER } from "./wire-format.ts";

const pieceLength = 16 * 1024;
const of = testBlob(10 * pieceLength + 100, { pieceLength });
const last = of.layout.count - 1;
const peer = `${"ab".repeat(20)};6881`;
const cluster = new ClusterAuth({ secret: "s".repeat(32) });

interface Ask {
  readonly what: string;
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Record<string, string>;
  readonly body?: Uint8Array;
  readonly isPublic?: boolean;
  /** Signed as a part of the cluster. */
  readonly asPart?: boolean;
  /** Whether the short way answers it by itself. */
  readonly short: boolean;
}

const range = (start: number, end: number) => ({ range: `bytes=${start}-${end}` });
const known = { [HEADER.peer]: peer };
const bits = (...pieces: number[]) => {
  const field = new Bitfield(of.layout.count);
  for (const piece of pieces) field.add(piece);
  return field.bytes;
};
const whole = range(0, pieceLength - 1);
const allBut = (...without: number[]) =>
  bits(...Array.from({ length: of.layout.count }, (_, piece) => piece).filter((piece) => !without.includes(piece)));

/** The blob lacks its last piece. */
const asks: readonly Ask[] = [
  { what: "a piece", headers: { ...known, ...whole }, short: true },
  { what: "two pieces", headers: { ...known, ...range(0, 2 * pieceLength - 1) }, short: true },
  { what: "a part of a piece", headers: { ...known, ...range(5, 9) }, short: true },
  {
    what: "a piece that is not there",
    headers: { ...known, ...range(last * pieceLength, of.layout.size - 1) },
    short: false,
  },
  { what: "a range that ends behind the blob", headers: { ...known, ...range(5, 10 * of.layout.size) }, short: false },
  { what: "a range that is none", headers: { ...known, range: "bytes=9-5" }, short: false },
  { what: "two ranges", headers: { ...known, range: "bytes=0-1,3-4" }, short: false },
  { what: "the last bytes", headers: { ...known, range: "bytes=-5" }, short: false },
  { what: "all of it", headers: known, short: false },
  { what: "a piece, by a stranger", headers: whole, short: false },
  { what: "a piece, by who says nonsense of himself", headers: { ...whole, [HEADER.peer]: "me" }, short: false },
  { what: "a piece of a private blob", headers: { ...known, ...whole }, isPublic: false, short: false },
  {
    what: "a piece of a private blob, by a part",
    headers: { ...known, ...whole },
    isPublic: false,
    asPart: true,
    short: true,
  },
  { what: "a HEAD", method: "HEAD", headers: { ...known, ...whole }, short: false },
  { what: "a query", path: "?x=1", headers: { ...known, ...whole }, short: false },
  { what: "no such route", path: "/other", headers: known, short: false },
  { what: "the metainfo", path: "/metainfo", headers: known, short: false },
  {
    what: "the choice of the uploader",
    method: "POST",
    path: "/next",
    headers: known,
    body: allBut(3, last),
    short: true,
  },
  {
    what: "the choice with a wish",
    method: "POST",
    path: "/next",
    headers: { ...known, [HEADER.want]: "4" },
    body: allBut(4, last),
    short: true,
  },
  {
    what: "a bitfield of another blob",
    method: "POST",
    path: "/next",
    headers: known,
    body: new Uint8Array(99),
    short: false,
  },
  { what: "a GET of the choice", path: "/next", headers: known, short: false },
];

/** A listener that offers the blob, with the short way or without, and how often the general way answered. */
async function offering({ isPublic = true, direct }: { isPublic?: boolean | undefined; direct: boolean }) {
  const dir = await tempDir();
  const live = await arriving(of, dir.path);
  for (let piece = 0; piece < last; piece++) await live.store(piece, of.piece(piece), "origin");
  live.isPublic = isPublic;
  const uploader = new Uploader();
  let held = 0;
  const init: PeerOfferInit = {
    blobs: {
      peek: async (digest) => {
        if (digest.hex !== of.digest.hex) return undefined;
        let released = false;
        held += 1;
        const release = () => {
          if (!released) held -= 1;
          released = true;
        };
        return { blob: live, source: "cache", release, [Symbol.dispose]: release };
      },
    },
    uploader,
    cluster,
    limiter: new RateLimiter(0),
    buffers: new BufferPool(CHUNK),
  };
  const app = peerRoutes(init);
  let general = 0;
  const listener = await serve({
    host: "127.0.0.1",
    port: 0,
    fetch: (request, env) => {
      general += 1;
      return app.fetch(request, env);
    },
    ...(direct ? { direct: peerDirect(init) } : {}),
  });
  return {
    live,
    base: new URL(`${listener.url}/p2p/v1/blobs/${of.digest}`),
    general: () => general,
    held: () => held,
    async [Symbol.asyncDispose]() {
      uploader.close();
      await listener.close({ graceMs: 0 });
      await live.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}

async function ask(base: URL, { method = "GET", path = "", headers = {}, body, asPart = false }: Ask) {
  const http = new HttpClient();
  const url = new URL(`${base}${path}`);
  const signed = asPart ? cluster.headers(method, url) : {};
  const answer = await http.request(url, { method, headers: { ...headers, ...signed }, ...(body && { body }) });
  const chunks: Buffer[] = [];
  for await (const chunk of answer.body) chunks.push(chunk);
  await http.close();
  return { status: answer.status, headers: answer.headers, bytes: Buffer.concat(chunks) };
}

/** Headers that the asker goes by. */
const compared = ["content-type", "content-length", "content-range", HEADER.sha1, HEADER.piece];

describe("what hosts ask each other", () => {
  for (const each of asks) {
    it(`is answered alike by both ways: ${each.what}`, async () => {
      await using plain = await offering({ isPublic: each.isPublic, direct: false });
      await using both = await offering({ isPublic: each.isPublic, direct: true });
      const [wanted, got] = [await ask(plain.base, each), await ask(both.base, each)];
      assert.equal(got.status, wanted.status);
      assert.deepEqual(got.bytes, wanted.bytes);
      for (const name of compared) assert.equal(got.headers.get(name), wanted.headers.get(name), name);
      assert.equal(both.general(), each.short ? 0 : 1);
      assert.equal(both.held(), 0);
    });
  }

  it("is answered with nothing where there is nothing for the asker", async () => {
    await using host = await offering({ direct: true });
    const answer = ask(host.base, {
      what: "",
      method: "POST",
      path: "/next",
      headers: known,
      body: allBut(last),
      short: true,
    });
    while (host.held() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    host.live.withdraw();
    assert.equal((await answer).status, 204);
    assert.deepEqual([host.general(), host.held()], [0, 0]);
  });

  it("is a list that grows", async () => {
    await using host = await offering({ direct: true });
    const http = new HttpClient();
    const { status, body } = await http.request(new URL(`${host.base}/pieces`), { headers: known });
    assert.equal(status, 200);
    let text = "";
    for await (const chunk of body) {
      text += chunk;
      if (text.includes("add")) break;
      if (text.includes("have")) await host.live.store(last, of.piece(last), "origin");
    }
    assert.match(text, new RegExp(`"add":\\[${last}\\]`));
    assert.equal(host.general(), 0);
    body.destroy();
    await http.close();
    while (host.held() > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  });
});
