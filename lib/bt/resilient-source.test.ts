/** @module Tests of bodies that the origin goes on with. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { sourceStream } from "../http/direct-body.ts";
import { RegistryError } from "../registry/errors.ts";
import { BufferPool } from "./buffer-pool.ts";
import { BlobError } from "./errors.ts";
import type { Origin } from "./origin-fill.ts";
import { CHUNK } from "./piece-source.ts";
import { resilientSource } from "./resilient-source.ts";
import { arriving, readAll, tempDir, testBlob, turns, until } from "./testing/blobs.ts";

/** The body as a stream. */
const resilientStream = (...args: Parameters<typeof resilientSource>) => sourceStream(resilientSource(...args));

const blob = testBlob(5 * 1024 * 1024 + 99);
const size = blob.layout.size;
const buffers = new BufferPool(CHUNK);

/** An origin that sends these bytes in chunks of 100,000. */
function originOf(
  bytes: Uint8Array,
  { told = bytes.length, cutAt = Number.POSITIVE_INFINITY }: { told?: number; cutAt?: number } = {},
) {
  const asked: { start?: number; end?: number }[] = [];
  const origin: Origin = {
    name: "origin",
    async read(range) {
      asked.push(range);
      return {
        size: told,
        ranged: true,
        close() {},
        body: (async function* () {
          const end = Math.min(range.end ?? bytes.length, bytes.length);
          for (let at = range.start ?? 0; at < end; at += 100_000) {
            if (at > cutAt) throw new RegistryError("unavailable", "cut");
            yield bytes.subarray(at, Math.min(end, at + 100_000));
          }
        })(),
      };
    },
  };
  return { origin, asked };
}

test("the origin goes on at any point, and the whole is right", async () => {
  await using dir = await tempDir();
  for (const pieces of [0, 1, 4, blob.layout.count - 1]) {
    const live = await arriving(blob, dir.path);
    for (let piece = 0; piece < pieces; piece++) await live.store(piece, blob.piece(piece), "peer");
    const { origin, asked } = originOf(blob.bytes);
    let closed = 0;
    let position = -1;
    let bytes = 0;
    const body = readAll(
      resilientStream(live, {
        start: 0,
        end: size,
        size,
        origin,
        buffers,
        onBytes: (count) => {
          bytes += count;
        },
        onFailover: (at) => {
          position = at;
        },
        onClose: () => void closed++,
      }),
    );
    await until(() => bytes >= Math.min(pieces, blob.layout.count - 1) * blob.layout.pieceLength, "what is there");
    await live.fail(new BlobError("unavailable", "all sources died"));
    assert.ok((await body).equals(blob.bytes));
    assert.equal(position, pieces * blob.layout.pieceLength);
    assert.deepEqual(asked, [{ start: position, end: size }]);
    assert.equal(closed, 1);
    assert.equal(bytes, size);
    await live.close();
  }
});

test("a range goes on as well", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  await live.store(1, blob.piece(1), "peer");
  const { origin, asked } = originOf(blob.bytes);
  const [start, end] = [600_000, 1_500_000];
  const body = readAll(resilientStream(live, { start, end, size, origin, buffers }));
  await turns();
  await live.fail(new BlobError("storage", "disk"));
  assert.ok((await body).equals(blob.bytes.subarray(start, end)));
  assert.equal(asked[0]?.end, end);
  await live.close();
});

test("a wrong whole never ends well: neither from the origin nor from the pieces before", async () => {
  await using dir = await tempDir();
  const wrong = Uint8Array.from(blob.bytes);
  wrong[size - 3]! ^= 4;
  const live = await arriving(blob, dir.path);
  await live.store(0, blob.piece(0), "peer");
  const parts: Uint8Array[] = [];
  const body = (async () => {
    for await (const part of resilientStream(live, {
      start: 0,
      end: size,
      size,
      origin: originOf(wrong).origin,
      buffers,
    }))
      parts.push(Uint8Array.from(part));
  })();
  const rejected = assert.rejects(body, (error) => error instanceof BlobError && error.code === "digest_mismatch");
  await turns();
  await live.fail(new BlobError("unavailable", "died"));
  await rejected;
  assert.ok(parts.reduce((sum, part) => sum + part.length, 0) < size, "the last bytes were withheld");
  await live.close();

  const lied = await arriving(blob, dir.path);
  const bad = Uint8Array.from(blob.piece(0));
  bad[9]! ^= 1;
  await lied.store(0, bad, "peer");
  let bytes = 0;
  const second = readAll(
    resilientStream(lied, {
      start: 0,
      end: size,
      size,
      origin: originOf(blob.bytes).origin,
      buffers,
      onBytes: (count) => {
        bytes += count;
      },
    }),
  );
  const refused = assert.rejects(second, (error) => error instanceof BlobError && error.code === "digest_mismatch");
  await until(() => bytes > 0);
  await lied.fail(new BlobError("unavailable", "died"));
  await refused;
  await lied.close();
});

test("known wrong bytes, an origin that fails, is short or of another size: an error, not an end", async () => {
  await using dir = await tempDir();
  const cases: [Origin, RegExp, BlobError?][] = [
    [originOf(blob.bytes).origin, /another digest/, new BlobError("digest_mismatch", "another digest")],
    [originOf(blob.bytes, { cutAt: 3_000_000 }).origin, /cut/],
    [originOf(blob.bytes.subarray(0, size - 5), { told: size }).origin, /ended early/],
    [originOf(blob.bytes, { told: size + 1 }).origin, /bytes, not/],
    [{ name: "down", read: () => Promise.reject(new RegistryError("unavailable", "is down")) }, /is down/],
  ];
  for (const [origin, message, error = new BlobError("unavailable", "died")] of cases) {
    const live = await arriving(blob, dir.path);
    let closed = 0;
    const rejected = assert.rejects(
      readAll(resilientStream(live, { start: 0, end: size, size, origin, buffers, onClose: () => void closed++ })),
      message,
    );
    await turns();
    await live.fail(error);
    await rejected;
    assert.equal(closed, 1);
    await live.close();
  }
});

test("a blob that turns out to have another size than promised is read from the origin", async () => {
  await using dir = await tempDir();
  const other = testBlob(6 * 1024 * 1024, { seed: 2 });
  const live = await arriving({ ...other, digest: blob.digest }, dir.path);
  const { origin } = originOf(blob.bytes);
  assert.ok((await readAll(resilientStream(live, { start: 0, end: size, size, origin, buffers }))).equals(blob.bytes));
  await live.fail(new BlobError("unavailable", "x"));
  await live.close();
});

test("a client that leaves while bytes are awaited lets go at once", async () => {
  await using dir = await tempDir();
  for (const begun of [true, false]) {
    const live = await arriving(blob, dir.path, { begun });
    let closed = 0;
    const reader = resilientStream(live, {
      start: 0,
      end: size,
      size,
      origin: originOf(blob.bytes).origin,
      buffers,
      onClose: () => void closed++,
    }).getReader();
    const pending = reader.read();
    await turns();
    await reader.cancel(new Error("left"));
    await pending;
    await turns();
    assert.equal(closed, 1);
    assert.equal(live.demands.size, 0);
    await live.fail(new BlobError("abandoned", "x"));
    await live.close();
  }
});
