/**
 * Whether a stored blob is still what it was when it was committed: its file, and its metainfo.
 * @module
 */
import { createHash } from "node:crypto";
import { createDigestHash, type Digest } from "../registry/digest.ts";
import type { BlobFile } from "./blob-file.ts";
import type { Metainfo } from "./metainfo.ts";
import { sameHash } from "./piece-hashes.ts";

/** Read at once, bytes. */
const STEP = 256 * 1024;

export interface VerifyInit {
  readonly digest: Digest;
  readonly metainfo: Metainfo;
  readonly file: Pick<BlobFile, "read">;
  /** Awaited before each step: to go slowly, or not at all for now. */
  turn?(bytes: number): Promise<void>;
}

/**
 * Reads a blob of `size` bytes of which there is no metainfo.
 * @returns what is wrong with it, as `verifyBlob`.
 * @throws as `verifyBlob`.
 */
export async function verifyBytes({
  digest,
  size,
  file,
  turn,
}: Omit<VerifyInit, "metainfo"> & { readonly size: number }): Promise<string | undefined> {
  const hash = createDigestHash(digest);
  const buffer = new Uint8Array(STEP);
  for (let position = 0; position < size; position += STEP) {
    const part = buffer.subarray(0, Math.min(STEP, size - position));
    await turn?.(part.length);
    await file.read(part, position);
    hash.update(part);
  }
  return hash.digest("hex") === digest.hex ? undefined : "has other bytes than its digest says";
}

/**
 * Reads the whole blob once.
 * @returns what is wrong with it, in words that go on from "the blob"; undefined when nothing is.
 * @throws whatever `turn` throws; the system's error when the file cannot be read at all.
 */
export async function verifyBlob({ digest, metainfo, file, turn }: VerifyInit): Promise<string | undefined> {
  const { layout, pieces } = metainfo;
  const whole = createDigestHash(digest);
  const buffer = new Uint8Array(STEP);
  const wrong: number[] = [];
  for (let piece = 0; piece < layout.count; piece++) {
    const sha1 = createHash("sha1");
    for (let position = layout.start(piece); position < layout.end(piece); ) {
      const part = buffer.subarray(0, Math.min(STEP, layout.end(piece) - position));
      await turn?.(part.length);
      await file.read(part, position);
      whole.update(part);
      sha1.update(part);
      position += part.length;
    }
    if (!sameHash(sha1.digest(), pieces.subarray(piece * 20, piece * 20 + 20))) wrong.push(piece);
  }
  const agrees = whole.digest("hex") === digest.hex;
  if (agrees && wrong.length === 0) return undefined;
  if (agrees) return `is right, but its metainfo is damaged (${wrong.length} of ${layout.count} piece hashes)`;
  return `has other bytes than its digest says (${wrong.length} of ${layout.count} pieces, the first is ${wrong[0] ?? "none"})`;
}
