/**
 * `eagle cache verify`: reads blobs again and tells which the disk has damaged.
 * @module
 */
import { openBlobFile } from "../../../lib/bt/blob-file.ts";
import { damageIn } from "../../../lib/bt/upkeep.ts";
import { verifyBlob, verifyBytes } from "../../../lib/bt/verify-blob.ts";
import { parseDigest } from "../../../lib/registry/digest.ts";
import type { FsStorage } from "../../../lib/storage/index.ts";
import { idOf, type StoredBlob, storedMetainfo } from "./stored.ts";

export interface VerifyOptions {
  /** Blobs without metainfo are right as well: a seeder's copies of what is in a bucket have none. */
  readonly withoutMetainfo: boolean;
  readonly signal: AbortSignal;
  /** So many bytes more were read. */
  onBytes(bytes: number): void;
}

/**
 * @returns what is wrong with the blob; undefined when nothing is, or when it has left meanwhile.
 * @throws the system's error when that says nothing about the blob; the signal's reason.
 */
export async function damageOf(
  storage: FsStorage,
  { digest: text, size, usedMs }: StoredBlob,
  { withoutMetainfo, signal, onBytes }: VerifyOptions,
): Promise<string | undefined> {
  const digest = parseDigest(text);
  const id = idOf(text);
  const turn = async (bytes: number) => {
    signal.throwIfAborted();
    onBytes(bytes);
  };
  const read = async (): Promise<string | undefined> => {
    const metainfo = await storedMetainfo(storage, text);
    if (!metainfo && !withoutMetainfo) return "has no metainfo";
    if (metainfo && metainfo.id !== id) return "has another blob's metainfo";
    const file = await openBlobFile(storage.getFilePath(id), "r");
    try {
      if (metainfo) return await verifyBlob({ digest, metainfo, file, turn });
      return await verifyBytes({ digest, size, file, turn });
    } finally {
      await file.close();
    }
  };
  const damage = await read().catch((error: unknown) => {
    const found = damageIn(error);
    if (found === undefined) throw error;
    return found;
  });
  if (damage === undefined) {
    // Reading it to check it was no use of it.
    await storage.touch(id, usedMs).catch(() => {});
    return undefined;
  }
  return await storage.stat(id).then(
    () => damage,
    () => undefined,
  );
}
