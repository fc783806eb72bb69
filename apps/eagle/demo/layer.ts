/**
 * A layer made on the spot: a tar with one file in it.
 * @module
 */
import { createHash, randomFillSync } from "node:crypto";
import { Readable } from "node:stream";
import { createGzip } from "node:zlib";

/** What the file in a layer looks like: `random` does not compress, `text` does, `mixed` is half and half. */
export type LayerContent = "random" | "text" | "mixed";

/** A layer to make. */
export interface LayerSpec {
  readonly name: string;
  readonly content: LayerContent;
  /** Bytes of the file, before compression. */
  readonly size: number;
  readonly gzip: boolean;
}

/** A layer on its way. */
export interface LayerStream {
  readonly mediaType: string;
  readonly bytes: AsyncIterable<Uint8Array>;
  /** Digest of the tar before compression (OCI image-spec, "Layer DiffID"); known when `bytes` was read to its end. */
  diffId(): string;
}

const BLOCK = 512;
const CHUNK = 1024 * 1024;

/** See the module. No two calls make the same layer: no cache can have it. */
export function layerStream({ name, content, size, gzip }: LayerSpec): LayerStream {
  const hash = createHash("sha256");
  const tar = function* () {
    for (const chunk of tarOf(name, content, size)) {
      hash.update(chunk);
      yield chunk;
    }
  };
  const mediaType = "application/vnd.oci.image.layer.v1.tar";
  const diffId = () => `sha256:${hash.digest("hex")}`;
  if (!gzip) return { mediaType, bytes: Readable.from(tar()), diffId };
  const zip = createGzip({ level: 1, chunkSize: 256 * 1024 });
  return { mediaType: `${mediaType}+gzip`, bytes: Readable.from(tar()).pipe(zip), diffId };
}

function* tarOf(name: string, content: LayerContent, size: number): Generator<Uint8Array> {
  yield headerOf(name, size);
  for (let made = 0; made < size; made += CHUNK) yield chunkOf(content, made, Math.min(CHUNK, size - made));
  // Padded to a block, and two empty blocks at the end.
  yield Buffer.alloc(((BLOCK - (size % BLOCK)) % BLOCK) + 2 * BLOCK);
}

function chunkOf(content: LayerContent, position: number, length: number): Buffer {
  if (content === "random") return randomFillSync(Buffer.allocUnsafe(length));
  const line = `At byte ${position}: every layer leaves the registry once, however many hosts pull it.\n`;
  const chunk = Buffer.alloc(length, line);
  if (content === "mixed") randomFillSync(chunk, 0, length >> 1);
  return chunk;
}

/** A ustar header of a plain file (POSIX.1-1988), owner and time zero. */
function headerOf(name: string, size: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  const number = (value: number, at: number, width: number) =>
    header.write(`${value.toString(8).padStart(width - 1, "0")}\0`, at, "latin1");
  header.write(name, 0, 100, "latin1");
  number(0o644, 100, 8);
  number(0, 108, 8);
  number(0, 116, 8);
  number(size, 124, 12);
  number(0, 136, 12);
  header.write("ustar\u000000", 257, "latin1");
  header.write("0", 156, "latin1");
  // The checksum counts its own field as spaces.
  header.write("        ", 148, "latin1");
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}
