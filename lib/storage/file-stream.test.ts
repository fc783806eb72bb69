/** @module Tests of file streams: demand, closing, and files that are too short. */

import assert from "node:assert/strict";
import { type FileHandle, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileStream } from "./file-stream.ts";
import { StorageError } from "./storage.ts";

async function withFile(text: string, run: (handle: FileHandle) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "eagle-stream-"));
  const path = join(directory, "file");
  await writeFile(path, text);
  const handle = await open(path, "r");
  try {
    await run(handle);
  } finally {
    await handle.close();
    await rm(directory, { recursive: true });
  }
}

async function text(stream: ReadableStream<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts).toString();
}

describe("fileStream", () => {
  it("lets several streams share a handle and tells each end once", () =>
    withFile("0123456789", async (handle) => {
      let closes = 0;
      const onClose = () => {
        closes++;
      };
      const streams = [0, 3, 9].map((start) => fileStream(handle, { start, end: 10, chunkBytes: 2, onClose }));
      assert.deepEqual(await Promise.all(streams.map(text)), ["0123456789", "3456789", "9"]);
      assert.equal(closes, 3);
    }));

  it("reads nothing before it is asked", () =>
    withFile("0123456789", async (handle) => {
      let reads = 0;
      const read = handle.read.bind(handle) as (...args: unknown[]) => unknown;
      const counting = new Proxy(handle, {
        get: (target, key) =>
          key === "read"
            ? (...args: unknown[]) => {
                reads++;
                return read(...args);
              }
            : Reflect.get(target, key),
      });
      const reader = fileStream(counting, { start: 0, end: 10, chunkBytes: 3 }).getReader();
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(reads, 0);
      await reader.read();
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(reads, 1);
      await reader.cancel();
    }));

  it("errors, and closes, when the file is shorter than promised", () =>
    withFile("0123", async (handle) => {
      let closes = 0;
      const stream = fileStream(handle, { start: 0, end: 5, onClose: () => void closes++ });
      await assert.rejects(text(stream), (error) => error instanceof StorageError && error.code === "io");
      assert.equal(closes, 1);
    }));

  it("closes once when cancelled, also during a read", () =>
    withFile("0123456789", async (handle) => {
      let closes = 0;
      const reader = fileStream(handle, { start: 0, end: 10, chunkBytes: 1, onClose: () => void closes++ }).getReader();
      const reading = reader.read();
      await reader.cancel();
      await reading;
      assert.equal(closes, 1);
    }));
});
