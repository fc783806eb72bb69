/**
 * The blobs in a cache: what there is of them, and which of them somebody means.
 * @module
 */
import { decodeMetainfo, type Metainfo } from "../../../lib/bt/metainfo.ts";
import { BlobNotFoundError, type FsStorage } from "../../../lib/storage/index.ts";

/** A blob in a cache. */
export interface StoredBlob {
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly storedMs: number;
  readonly usedMs: number;
}

/** A blob's id as people know it. */
export function digestOf(id: string): string {
  return `${id.length === 128 ? "sha512" : "sha256"}:${id}`;
}

/** A digest's id. */
export function idOf(digest: string): string {
  return digest.slice(digest.indexOf(":") + 1);
}

/**
 * All blobs, most recently used first.
 * @param wanted Digests, their hex or the beginning of it; none: all.
 * @throws Error naming what nothing, or more than one blob, is meant by.
 */
export async function storedBlobs(storage: FsStorage, wanted: readonly string[] = []): Promise<StoredBlob[]> {
  const blobs: StoredBlob[] = [];
  for await (const { id, size, modifiedMs, lastUsedMs = 0 } of storage.list()) {
    blobs.push({ digest: digestOf(id), size, storedMs: modifiedMs, usedMs: Math.max(modifiedMs, lastUsedMs) });
  }
  blobs.sort((a, b) => b.usedMs - a.usedMs);
  if (wanted.length === 0) return blobs;
  const found = wanted.map((word) => {
    const meant = blobs.filter(({ digest }) => digest.startsWith(word) || idOf(digest).startsWith(word));
    if (meant.length === 1) return meant[0]!;
    throw new Error(
      meant.length === 0
        ? `no blob here is ${JSON.stringify(word)} (eagle cache ls shows what there is)`
        : `${JSON.stringify(word)} may be any of ${meant.length} blobs; write more of the digest`,
    );
  });
  return [...new Set(found)];
}

/** The metainfo stored beside a blob; undefined where there is none. @throws MetainfoError for a damaged one */
export async function storedMetainfo(storage: FsStorage, digest: string): Promise<Metainfo | undefined> {
  try {
    return decodeMetainfo(await storage.readMetaInfo(idOf(digest)));
  } catch (error) {
    if (error instanceof BlobNotFoundError) return undefined;
    throw error;
  }
}
