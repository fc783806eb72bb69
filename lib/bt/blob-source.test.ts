/** @module Tests of bodies that follow an arriving blob. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { sourceStream } from "../http/direct-body.ts";
import { blobSource, firstByte } from "./blob-source.ts";
import { BufferPool } from "./buffer-pool.ts";
import { BlobError } from "./errors.ts";
import { CHUNK } from "./piece-source.ts";
import { arriving, prng, readAll, shuffled, tempDir, testBlob, turns } from "./testing/blobs.ts";

/** The body as a stream. */
const blobStream = (...args: Parameters<typeof blobSource>) => sourceStream(blobSource(...args));

const large = testBlob(5 * 1024 * 1024 + 777);
const small = testBlob(700_000);
const buffers = new BufferPool(CHUNK);

type Read = ReadableStreamReadResult<Uint8Array>;

/** Reads until nothing comes for a moment. @returns The read that still waits. */
async function readSome(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  into: Uint8Array[],
): Promise<{ next: Promise<Read> }> {
  for (;;) {
    const next = reader.read();
    const outcome = await Promise.race([
      next,
      new Promise<"quiet">((resolve) => setTimeout(() => resolve("quiet"), 60)),
    ]);
    if (outcome === "quiet") return { next };
    assert.equal(outcome.done, false, "the body ended");
    into.push(Uint8Array.from(outcome.value!));
  }
}

test("a body follows the pieces in whatever order they come", async () => {
  await using dir = await tempDir();
  for (let seed = 0; seed < 3; seed++) {
    const live = await arriving(large, dir.path);
    const body = readAll(blobStream(live, { buffers }));
    const range = readAll(blobStream(live, { start: 600_000, end: 2_600_001, buffers }));
    for (const piece of shuffled(large.layout.count, prng(seed))) await live.store(piece, large.piece(piece), "peer");
    assert.ok((await body).equals(large.bytes));
    assert.ok((await range).equals(large.bytes.subarray(600_000, 2_600_001)));
    assert.equal(live.demands.size, 0);
    await live.done;
    assert.ok((await readAll(blobStream(live, { buffers }))).equals(large.bytes), "and from the committed file");
    await live.close();
  }
});

test("the last piece waits for the digest, and a wrong one ends the body in an error", async () => {
  await using dir = await tempDir();
  const live = await arriving(large, dir.path);
  const count = large.layout.count;
  for (let piece = 1; piece < count; piece++) await live.store(piece, large.piece(piece), "peer");
  const reader = blobStream(live, { buffers }).getReader();
  const seen: Uint8Array[] = [];
  const first = reader.read();
  await turns();
  const bad = Uint8Array.from(large.piece(0));
  bad[0]! ^= 1;
  await live.store(0, bad, "peer");
  await assert.rejects(
    async () => {
      seen.push(Uint8Array.from((await first).value!));
      for (;;) {
        const { done, value } = await reader.read();
        assert.equal(done, false, "a wrong body never ends well");
        seen.push(Uint8Array.from(value!));
      }
    },
    (error) => error instanceof BlobError && error.code === "digest_mismatch",
  );
  const bytes = seen.reduce((sum, part) => sum + part.length, 0);
  assert.ok(bytes <= large.layout.start(count - 1), "the last piece was withheld");
});

test("a blob of up to 4 MiB is held whole until its digest agrees", async () => {
  await using dir = await tempDir();
  const live = await arriving(small, dir.path);
  await live.store(0, small.piece(0), "peer");
  const parts: Uint8Array[] = [];
  const reader = blobStream(live, { start: 0, end: 1000, buffers }).getReader();
  const { next } = await readSome(reader, parts);
  assert.equal(parts.length, 0);
  await live.store(1, small.piece(1), "peer");
  const { value } = await next;
  assert.deepEqual(Uint8Array.from(value!), small.bytes.slice(0, 1000));
  await reader.cancel();
  await live.done;
  await live.close();
});

test("nothing is seen that is not verified, however the reader asks", async () => {
  await using dir = await tempDir();
  const live = await arriving(large, dir.path);
  await live.store(0, large.piece(0), "peer");
  await live.store(2, large.piece(2), "peer");
  const parts: Uint8Array[] = [];
  const reader = blobStream(live, { buffers }).getReader();
  const { next } = await readSome(reader, parts);
  assert.equal(
    parts.reduce((sum, part) => sum + part.length, 0),
    large.layout.end(0),
  );
  const [demand] = live.demands;
  assert.equal(demand?.position, large.layout.end(0));
  assert.notEqual(demand?.waitingSince, undefined);
  await reader.cancel();
  await next;
  assert.equal(live.demands.size, 0, "a reader that left hurries nobody");
  await live.fail(new BlobError("unavailable", "x"));
  await live.close();
});

test("the blob's error ends the body, and onClose is called once in each case", async () => {
  await using dir = await tempDir();
  const live = await arriving(large, dir.path);
  await live.store(0, large.piece(0), "peer");
  let closed = 0;
  const onClose = () => void closed++;
  const failing = readAll(blobStream(live, { buffers, onClose }));
  const gone = new AbortController();
  const left = readAll(blobStream(live, { buffers, onClose, signal: gone.signal }));
  const cancelled = blobStream(live, { buffers, onClose });
  await cancelled.cancel();
  assert.equal(closed, 1);
  gone.abort(new Error("left"));
  await assert.rejects(left, /left/);
  assert.equal(closed, 2);
  const failed = assert.rejects(failing, /went away/);
  await live.fail(new BlobError("unavailable", "went away"));
  await failed;
  assert.equal(closed, 3);
  await live.close();
});

test("a body that waits again and again listens once, and not after its end", async () => {
  await using dir = await tempDir();
  const live = await arriving(large, dir.path);
  let listening = 0;
  let subscriptions = 0;
  const subscribe = live.subscribe.bind(live);
  live.subscribe = (listener) => {
    subscriptions++;
    listening++;
    const end = subscribe(listener);
    return () => {
      listening--;
      end();
    };
  };
  const gone = new AbortController();
  for (const end of ["cancel", "abort"] as const) {
    subscriptions = 0;
    const source = blobSource(live, { start: live.received, buffers, signal: gone.signal });
    for (let round = 0; round < 2; round++) {
      const pulled = source.pull();
      const piece = live.have!.count;
      await live.store(piece, large.piece(piece), "peer");
      assert.deepEqual(Uint8Array.from((await pulled)!), Uint8Array.from(large.piece(piece)));
    }
    assert.equal(subscriptions, 1);
    assert.equal(listening, 1);
    const rejected = assert.rejects(source.pull(), /left/);
    if (end === "cancel") source.cancel();
    else gone.abort(new Error("left"));
    await rejected;
    assert.equal(listening, 0);
    assert.equal(live.demands.size, 0);
  }
  const late = blobSource(live, { start: live.received, buffers, signal: gone.signal });
  await assert.rejects(late.pull(), /left/);
  await live.fail(new BlobError("unavailable", "died"));
  await assert.rejects(blobSource(live, { start: live.received, buffers }).pull(), /died/);
  assert.equal(listening, 0);
  await live.close();
});

test("firstByte() waits for the piece that is wanted", async () => {
  await using dir = await tempDir();
  const live = await arriving(large, dir.path);
  const waiting = firstByte(live, 3_000_000, 3_000_010);
  const gone = new AbortController();
  const other = assert.rejects(firstByte(live, 0, 1, gone.signal), /left/);
  assert.equal(live.demands.size, 2);
  await live.store(live.layout!.pieceAt(3_000_000), large.piece(live.layout!.pieceAt(3_000_000)), "peer");
  await waiting;
  gone.abort(new Error("left"));
  await other;
  assert.equal(live.demands.size, 0);
  await live.fail(new BlobError("unavailable", "x"));
  await live.close();
});
