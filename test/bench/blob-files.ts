/**
 * @module Blobs of a benchmark as files: random bytes, the same for the same seed.
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { content } from "../rig/blob-content.ts";

/** A blob on disk. */
export interface BlobFile {
  path: string;
  /** Bytes. */
  size: number;
  /** `sha256:<hex>` */
  digest: string;
}

/** Writes a blob; its file is named `<hex>.layer`, as Eagle's stores and metainfo name it. */
export function makeBlobFile(directory: string, { size, seed }: { size: number; seed: string }): BlobFile {
  const digest = createHash("sha256");
  for (const chunk of content("random", seed, size)) digest.update(chunk);
  const hex = digest.digest("hex");
  const path = join(directory, `${hex}.layer`);
  const file = openSync(path, "w");
  for (const chunk of content("random", seed, size)) writeSync(file, chunk);
  closeSync(file);
  return { path, size, digest: `sha256:${hex}` };
}

/** The hex part of its digest. */
export function hexOf({ digest }: Pick<BlobFile, "digest">): string {
  return digest.slice(digest.indexOf(":") + 1);
}
