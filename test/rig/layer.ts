/**
 * @module Image layers: a tar with one file in it, as an engine unpacks it, plain or compressed.
 */
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { createGzip } from "node:zlib";
import { type ContentKind, content } from "./blob-content.ts";

/** One layer to make. */
export interface LayerSpec {
  /** About the size of the blob in bytes, for `gzip` of text about the size before compression. At least 4096. */
  size: number;
  /** @default "random" */
  kind?: ContentKind;
  /** @default "gzip" for random content (stored: it does not shrink), else "none" */
  compression?: "gzip" | "none";
}

/** A layer on its way. The hash of its tar is known after the stream was read to its end. */
export interface LayerStream {
  mediaType: string;
  bytes: AsyncIterable<Uint8Array>;
  diffId(): string;
}

const block = 512;

/** Makes the stream of a layer: the same bytes for the same spec, seed and path. */
export function layerStream(spec: LayerSpec, { seed, path }: { seed: string; path: string }): LayerStream {
  const { kind = "random", compression = kind === "random" ? "gzip" : "none" } = spec;
  const hash = createHash("sha256");
  const tar = hashed(tarOf(path, kind, seed, spec.size), hash);
  const diffId = lazily(() => `sha256:${hash.digest("hex")}`);
  const mediaType = "application/vnd.oci.image.layer.v1.tar";
  if (compression === "none") return { mediaType, bytes: Readable.from(tar), diffId };
  const gzip = createGzip({ level: kind === "random" ? 0 : 1, chunkSize: 256 * 1024 });
  const source = Readable.from(tar);
  source.once("error", (error) => gzip.destroy(error));
  return { mediaType: `${mediaType}+gzip`, bytes: source.pipe(gzip), diffId };
}

function* hashed(chunks: Iterable<Buffer>, hash: ReturnType<typeof createHash>): Generator<Buffer> {
  for (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
}

function* tarOf(path: string, kind: ContentKind, seed: string, size: number): Generator<Buffer> {
  const length = Math.max(block, size - 3 * block);
  yield header(path, length);
  yield* content(kind, seed, length);
  const padding = (block - (length % block)) % block;
  yield Buffer.alloc(padding + 2 * block);
}

/** A ustar header of a plain file (POSIX.1-1988), with time and owner zero. */
function header(path: string, size: number): Buffer {
  const out = Buffer.alloc(block);
  const octal = (value: number, at: number, width: number) => {
    out.write(`${value.toString(8).padStart(width - 1, "0")}\0`, at, "latin1");
  };
  out.write(path, 0, 100, "latin1");
  octal(0o644, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  out.write("        ", 148, "latin1");
  out.write("0", 156, "latin1");
  out.write("ustar\u000000", 257, "latin1");
  const sum = out.reduce((total, byte) => total + byte, 0);
  out.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return out;
}

function lazily<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
