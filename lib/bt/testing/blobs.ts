/**
 * Blobs for the tests of this room: bytes that differ everywhere, with all that is known of them.
 * @module
 */
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Digest, parseDigest } from "../../registry/digest.ts";
import type { Fill } from "../blob-store.ts";
import { Layout } from "../layout.ts";
import { LiveBlob } from "../live-blob.ts";
import type { Metainfo } from "../metainfo.ts";

/** A seeded generator of numbers in [0, 1) (mulberry32), so that a failure can be had again. */
export function prng(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Numbers 0..count-1 in a random order. */
export function shuffled(count: number, random: () => number): number[] {
  const order = Array.from({ length: count }, (_, index) => index);
  for (let index = count - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1));
    [order[index], order[other]] = [order[other]!, order[index]!];
  }
  return order;
}

/** A blob and what is known of it. */
export interface TestBlob {
  readonly bytes: Uint8Array;
  readonly digest: Digest;
  readonly layout: Layout;
  readonly metainfo: Metainfo;
  piece(index: number): Uint8Array;
  sha1(index: number): Uint8Array;
}

/** @param pieceLength Bytes; small ones make small tests. */
export function testBlob(
  size: number,
  { pieceLength, seed = 1 }: { pieceLength?: number; seed?: number } = {},
): TestBlob {
  const bytes = new Uint8Array(size);
  const random = prng(seed);
  const words = new Uint32Array(bytes.buffer, 0, size >> 2);
  for (let index = 0; index < words.length; index++) words[index] = random() * 2 ** 32;
  const digest = parseDigest(`sha256:${createHash("sha256").update(bytes).digest("hex")}`);
  const layout = new Layout(size, ...(pieceLength === undefined ? [] : [pieceLength]));
  const piece = (index: number) => bytes.subarray(layout.start(index), layout.end(index));
  const pieces = new Uint8Array(layout.count * 20);
  for (let index = 0; index < layout.count; index++) {
    pieces.set(createHash("sha1").update(piece(index)).digest(), index * 20);
  }
  return {
    bytes,
    digest,
    layout,
    metainfo: { id: digest.hex, layout, pieces },
    piece,
    sha1: (index) => pieces.subarray(index * 20, index * 20 + 20),
  };
}

/** A directory that goes with its scope. */
export async function tempDir(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "eagle-bt-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** A blob that arrives in a directory. Begun, with all hashes known, unless told otherwise; the test closes it. */
export async function arriving(
  test: TestBlob,
  path: string,
  {
    begun = true,
    hashes = true,
    commit = async () => {},
  }: { begun?: boolean; hashes?: boolean; commit?: (blob: LiveBlob) => Promise<void> } = {},
): Promise<LiveBlob> {
  const blob = new LiveBlob({ digest: test.digest, place: { path: join(path, test.digest.hex) }, commit });
  if (begun) await blob.begin(test.layout);
  if (begun && hashes) blob.addHashes(0, test.metainfo.pieces);
  return blob;
}

/** What fills a blob of a store, as from its origin. */
export function filling(of: TestBlob, { isPublic = false }: { isPublic?: boolean } = {}): Fill {
  return (live) => {
    live.isPublic = isPublic;
    void (async () => {
      await live.begin(of.layout);
      live.addHashes(0, of.metainfo.pieces);
      for (let piece = 0; piece < of.layout.count; piece++) await live.store(piece, of.piece(piece), "origin");
    })();
  };
}

/** Reads a stream to its end. Chunks are copied: their buffers are lent. */
export async function readAll(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(Uint8Array.from(part));
  return Buffer.concat(parts);
}

/** Lets whatever is due run, without waiting for any time. */
export async function turns(count = 5): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Waits for a condition that real I/O brings about. @throws Error after 10 s. */
export async function until(condition: () => boolean, what = "the condition"): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`${what} did not come`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
