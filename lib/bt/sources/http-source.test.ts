/** @module Tests of a peer as a source, against peers that answer what the test says. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { test } from "node:test";
import { ClusterAuth } from "../../cluster/cluster-auth.ts";
import { fakeServer } from "../../registry/testing/fake-registry.ts";
import { Bitfield } from "../bitfield.ts";
import { testBlob, until } from "../testing/blobs.ts";
import { formatLine } from "../wire-format.ts";
import { ConnectionPool } from "./connection-pool.ts";
import { HttpSource, type HttpSourceInit } from "./http-source.ts";
import { type PieceAsk, type SourceChange, SourceError } from "./source.ts";

const blob = testBlob(300_000, { pieceLength: 16 * 1024 });
const { layout } = blob;

type Answer = (req: IncomingMessage, res: ServerResponse) => unknown;

async function sourceOf(kind: "peer" | "seeder", answer: Answer, changes: Partial<HttpSourceInit> = {}) {
  const server = await fakeServer((req, res) => answer(req, res));
  const { hostname, port } = new URL(server.url);
  const pool = new ConnectionPool();
  const endpoint = { host: hostname, port: Number(port) };
  const source = new HttpSource({
    kind,
    endpoint,
    digest: blob.digest.toString(),
    layout,
    pool,
    self: `${"a".repeat(40)};1`,
    ...changes,
  });
  return {
    source,
    server,
    async [Symbol.asyncDispose]() {
      source.close();
      pool[Symbol.dispose]();
      await server.close();
    },
  };
}

function askFor(
  piece: number | undefined,
  { expected = (index: number) => blob.sha1(index) as Uint8Array | undefined } = {},
) {
  const out = { taken: 0, released: 0, bytes: 0 };
  const ask: PieceAsk = {
    piece,
    asked: new Bitfield(layout.count),
    want: undefined,
    expected,
    buffer: (index) => {
      out.taken++;
      return new Uint8Array(layout.length(index));
    },
    release: () => void out.released++,
    onBytes: (_, bytes) => {
      out.bytes += bytes;
    },
    signal: new AbortController().signal,
  };
  return { ask, out };
}

interface PieceChanges {
  readonly body?: Uint8Array;
  readonly headers?: Record<string, string>;
  readonly status?: number;
}

/** Answers with a piece, but for the changes. */
function send(
  res: ServerResponse,
  piece: number,
  { body = blob.piece(piece), headers = {}, status = 206 }: PieceChanges = {},
): void {
  res.writeHead(status, {
    "content-length": body.length,
    "content-range": `bytes ${layout.start(piece)}-${layout.end(piece) - 1}/${layout.size}`,
    "eagle-piece": piece,
    "eagle-piece-sha1": Buffer.from(blob.sha1(piece)).toString("hex"),
    ...headers,
  });
  res.end(body);
}

function isCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof SourceError && error.code === code;
}

test("a named piece comes by Range, a chosen one by POST with what is there already", async () => {
  await using peer = await sourceOf("peer", (_, res) => send(res, 3));
  const { ask, out } = askFor(3);
  const fetched = await peer.source.fetch(ask);
  assert.deepEqual(fetched?.bytes, Uint8Array.from(blob.piece(3)));
  assert.deepEqual(Buffer.from(fetched!.sha1), Buffer.from(blob.sha1(3)));
  assert.deepEqual(out, { taken: 1, released: 0, bytes: layout.length(3) });
  assert.equal(peer.server.seen[0]?.headers.range, `bytes=${layout.start(3)}-${layout.end(3) - 1}`);

  await using seeder = await sourceOf("seeder", (_, res) => send(res, layout.count - 1));
  const chosen = await seeder.source.fetch(askFor(undefined, { expected: () => undefined }).ask);
  assert.equal(chosen?.piece, layout.count - 1);
  assert.deepEqual(chosen?.bytes, Uint8Array.from(blob.piece(layout.count - 1)));
  const seen = seeder.server.seen[0];
  assert.deepEqual([seen?.method, seen?.url], ["POST", `/p2p/v1/blobs/${blob.digest}/next`]);
  assert.equal(seen?.headers["content-length"], String(Math.ceil(layout.count / 8)));
});

test("204 is nothing now, where the source chooses", async () => {
  await using seeder = await sourceOf("seeder", (_, res) => res.writeHead(204).end());
  assert.equal(await seeder.source.fetch(askFor(undefined).ask), undefined);
});

test("hostile answers have their code, and no buffer is lost", async () => {
  const wrong = Uint8Array.from(blob.piece(3));
  wrong[100]! ^= 1;
  const other = createHash("sha1").update("other").digest("hex");
  const cases: [string, PieceChanges, string][] = [
    ["bytes that fail their own hash", { body: wrong }, "liar"],
    ["another list", { headers: { "eagle-piece-sha1": other } }, "other_list"],
    [
      "right by another list",
      { body: wrong, headers: { "eagle-piece-sha1": createHash("sha1").update(wrong).digest("hex") } },
      "other_list",
    ],
    ["no hash", { headers: { "eagle-piece-sha1": "" } }, "failed"],
    ["rubbish as hash", { headers: { "eagle-piece-sha1": "zz".repeat(20) } }, "failed"],
    ["another range", { headers: { "content-range": "bytes 0-16383/300000" } }, "failed"],
    [
      "another size",
      { headers: { "content-range": `bytes ${layout.start(3)}-${layout.end(3) - 1}/299999` } },
      "failed",
    ],
    ["too short", { body: blob.piece(3).subarray(1) }, "failed"],
    ["whole instead of a piece", { status: 200, body: new Uint8Array(10) }, "failed"],
    ["not here", { status: 404, body: new Uint8Array(0) }, "gone"],
    ["broken", { status: 500, body: new Uint8Array(0) }, "failed"],
    ["204 for a named piece", { status: 204, body: new Uint8Array(0) }, "failed"],
  ];
  for (const [what, changes, code] of cases) {
    await using peer = await sourceOf("peer", (_, res) => send(res, 3, changes));
    const { ask, out } = askFor(3);
    await assert.rejects(peer.source.fetch(ask), isCode(code), what);
    assert.equal(out.taken, out.released, what);
  }
});

test("a peer's hash is not believed where none is known; a seeder's piece index is checked", async () => {
  await using peer = await sourceOf("peer", (_, res) => send(res, 3));
  await assert.rejects(peer.source.fetch(askFor(3, { expected: () => undefined }).ask), isCode("other_list"));
  for (const index of ["-1", "1.5", "99999", "x", ""]) {
    await using seeder = await sourceOf("seeder", (_, res) => send(res, 3, { headers: { "eagle-piece": index } }));
    await assert.rejects(seeder.source.fetch(askFor(undefined).ask), isCode("failed"), index);
  }
});

test("giving up is not the source's fault", async () => {
  await using peer = await sourceOf("peer", () => {});
  const gone = new AbortController();
  const { ask } = askFor(3);
  const rejected = assert.rejects(peer.source.fetch({ ...ask, signal: gone.signal }), isCode("aborted"));
  await until(() => peer.server.seen.length > 0);
  gone.abort();
  await rejected;
});

test("availability is followed as it is told", async () => {
  let stream: ServerResponse | undefined;
  const bits = new Bitfield(layout.count);
  bits.add(2);
  await using peer = await sourceOf("peer", (_, res) => {
    stream = res;
    res.writeHead(200);
    res.write(`\n${formatLine({ type: "have", bits })}`);
  });
  const changes: SourceChange[] = [];
  peer.source.start((change) => changes.push(change));
  await until(() => changes.length === 1);
  assert.deepEqual([...peer.source.pieces!], [2]);
  assert.equal(peer.server.seen[0]?.headers["eagle-peer"], `${"a".repeat(40)};1`);
  const text = formatLine({ type: "add", pieces: [2, 5, 7] }) + formatLine({ type: "remove", pieces: [2] });
  stream!.write(text.slice(0, 9));
  await new Promise((resolve) => setTimeout(resolve, 10));
  stream!.write(`${text.slice(9)}\n`);
  await until(() => changes.length === 3);
  assert.deepEqual(changes.slice(1), [{ type: "added", pieces: [5, 7] }, { type: "reset" }]);
  assert.deepEqual([...peer.source.pieces!], [5, 7]);
  stream!.end();
  await until(() => changes.length === 4);
  assert.ok(changes[3]?.type === "gone" && changes[3].error.code === "gone");
});

test("nonsense as availability is a lie, a blob cut otherwise another list, silence afterwards nothing", async () => {
  const count = layout.count;
  const cases: [string, string][] = [
    ["not json\n", "liar"],
    ["[]\n", "liar"],
    ['{"add":[-1]}\n', "liar"],
    [`{"add":[${count}]}\n`, "liar"],
    ['{"add":[0.5]}\n', "liar"],
    [`{"pieces":${count},"have":"AA=="}\n`, "liar"],
    [`{"pieces":${count + 1},"have":"AAAAAA=="}\n`, "other_list"],
    ["x".repeat(900_000), "liar"],
  ];
  for (const [text, code] of cases) {
    await using peer = await sourceOf("peer", (_, res) => res.writeHead(200).write(text));
    const changes: SourceChange[] = [];
    peer.source.start((change) => changes.push(change));
    await until(() => changes.some(({ type }) => type === "gone"), text.slice(0, 30));
    const last = changes.at(-1);
    assert.ok(last?.type === "gone" && last.error.code === code, text.slice(0, 30));
  }
});

test("a closed source tells nothing more", async () => {
  let told = 0;
  await using peer = await sourceOf("peer", (_, res) => void res.writeHead(200).write("\n"));
  peer.source.start(() => void told++);
  await until(() => peer.server.seen.length > 0);
  peer.source.close();
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(told, 0);
});

test("what is asked, is asked as a part of the cluster, or as anyone", async () => {
  const cluster = new ClusterAuth({ secret: "s".repeat(32) });
  for (const asPart of [true, false]) {
    const answer: Answer = (_, res) => res.writeHead(404).end();
    await using peer = await sourceOf("peer", answer, { cluster, asPart });
    peer.source.start(() => {});
    await until(() => peer.server.seen.length === 1);
    await assert.rejects(peer.source.fetch(askFor(3).ask), SourceError);
    await assert.rejects(peer.source.fetch(askFor(undefined).ask), SourceError);
    assert.equal(peer.server.seen.length, 3);
    for (const { method, url, headers } of peer.server.seen) {
      const received = {
        method: method!,
        authority: headers.host!,
        target: url!,
        authorization: headers.authorization,
      };
      const by = { localAddress: "127.0.0.1", localPort: Number(new URL(peer.server.url).port), secure: false };
      assert.equal(cluster.isPart({ ...received, as: headers["eagle-as"] as string | undefined }, by), asPart);
      assert.equal(headers["eagle-as"], asPart ? undefined : "anyone");
      assert.equal(headers["eagle-peer"], `${"a".repeat(40)};1`);
    }
  }
});

test("an answer without a list is the peer's word that it has no such blob", async () => {
  for (const answer of [
    (_: unknown, res: ServerResponse) => res.writeHead(404).end("{}"),
    (_: unknown, res: ServerResponse) => res.writeHead(204).end(),
    (_: unknown, res: ServerResponse) => res.writeHead(200, { "content-length": 0 }).end(),
  ]) {
    await using peer = await sourceOf("peer", answer);
    const changes: SourceChange[] = [];
    peer.source.start((change) => changes.push(change));
    await until(() => changes.length === 1);
    assert.ok(changes[0]?.type === "gone" && changes[0].error.code === "gone");
  }
});
