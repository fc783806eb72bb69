/**
 * @module Bytes that look like anything, yet are the same for the same seed: no test needs a fixture file.
 */
import { createCipheriv, createHash } from "node:crypto";

/** What the bytes look like: `random` cannot be compressed, `text` shrinks to a small part. */
export type ContentKind = "random" | "text";

const chunkSize = 1024 * 1024;

/**
 * Makes `size` bytes, in chunks of 1 MiB.
 * Random bytes are AES-CTR over zeros (more than 1 GB/s); text is words of a small list chosen by such bytes.
 */
export function* content(kind: ContentKind, seed: string, size: number): Generator<Buffer> {
  const key = createHash("sha256").update(`${kind}\n${seed}`).digest();
  const cipher = createCipheriv("aes-128-ctr", key.subarray(0, 16), key.subarray(16, 32));
  const zeros = Buffer.alloc(Math.min(chunkSize, size));
  const pages = kind === "text" ? textPages(cipher.update(Buffer.alloc(64 * 1024))) : [];
  for (let made = 0; made < size; ) {
    const length = Math.min(chunkSize, size - made);
    yield kind === "random" ? cipher.update(zeros.subarray(0, length)) : textChunk(pages, made, length);
    made += length;
  }
}

const words =
  "layer blob piece seeder proxy tracker origin digest manifest swarm announce engine mirror registry".split(" ");

/** Pages of 4 KiB each, from which text is put together. */
function textPages(random: Buffer): Buffer[] {
  const text = Array.from(random, (byte) => words[byte % words.length]).join(" ");
  return Array.from({ length: 16 }, (_, page) => Buffer.from(text.slice(page * 4096, (page + 1) * 4096).padEnd(4096)));
}

function textChunk(pages: readonly Buffer[], start: number, length: number): Buffer {
  const out = Buffer.alloc(length);
  for (let at = 0; at < length; at += 4096) {
    const number = (start + at) / 4096;
    pages[(number * 7) % pages.length]!.copy(out, at);
    out.write(`${number}`.padStart(12, "0"), at);
  }
  return out;
}
