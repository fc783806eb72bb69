/**
 * Blobs as plain files: they appear whole or not at all.
 * @module
 */
import { randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import type { Digest } from "../../../lib/registry/digest.ts";
import { verified } from "./verified.ts";

/** Writes to a draft beside `path` and renames it when `bytes` ended well; nothing is left otherwise. */
export async function writeBlobFile(path: string, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  const draft = `${path}.${randomUUID()}.part`;
  try {
    await pipeline(bytes, createWriteStream(draft, { flags: "wx" }));
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

/** Whether a file is there whose bytes are those of the digest. */
export async function hasBlobFile(path: string, { digest, size }: { digest: Digest; size?: number }): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile() || (size !== undefined && found.size !== size)) return false;
  try {
    const stream = createReadStream(path, { highWaterMark: 1024 * 1024 });
    for await (const _ of verified(stream, { digest, size }));
    return true;
  } catch {
    return false;
  }
}
