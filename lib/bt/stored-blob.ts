/**
 * A committed blob out of a storage, whichever it is.
 * @module
 */
import { createHash } from "node:crypto";
import type { Logger } from "../log/log.ts";
import { type Digest, parseDigest } from "../registry/digest.ts";
import { BlobNotFoundError, type Storage } from "../storage/index.ts";
import { type BlobFile, openBlobFile, readOnlyFile } from "./blob-file.ts";
import { LiveBlob } from "./live-blob.ts";
import { decodeMetainfo, type Metainfo, MetainfoError } from "./metainfo.ts";
import { sameHash } from "./piece-hashes.ts";

/** The digest behind an id: its length tells the algorithm. */
export function digestOf(id: string): Digest {
  return parseDigest(`${id.length === 128 ? "sha512" : "sha256"}:${id}`);
}

/**
 * Opens a stored blob; the caller closes it.
 * @param init.onReadFailure A read of it failed.
 * @throws BlobNotFoundError also for one that cannot be what its id says: it is fetched anew then.
 */
export async function openStored(
  id: string,
  init: { storage: Storage; log: Pick<Logger, "warn">; onReadFailure(cause: unknown): void },
): Promise<LiveBlob> {
  const { storage, log, onReadFailure } = init;
  const bytes = await storage.readMetaInfo(id);
  let metainfo: Metainfo;
  try {
    metainfo = decodeMetainfo(bytes);
  } catch (error) {
    log.warn("the stored metainfo of a blob is damaged", { blob: id, error });
    throw new BlobNotFoundError(id);
  }
  const { size } = await storage.stat(id);
  if (metainfo.id !== id || size !== metainfo.layout.size) throw new BlobNotFoundError(id);
  return LiveBlob.committed({
    digest: digestOf(id),
    metainfo,
    file: await openFile(storage, metainfo),
    onReadFailure,
  });
}

async function openFile(storage: Storage, { id, layout, pieces }: Metainfo): Promise<BlobFile> {
  if (!storage.remote) return await openBlobFile(storage.getFilePath(id), "r");
  const { size, pieceLength } = layout;
  const verify = (piece: number, bytes: Uint8Array) =>
    sameHash(createHash("sha1").update(bytes).digest(), pieces.subarray(piece * 20, piece * 20 + 20));
  return readOnlyFile(storage.remote.open(id, { size, pieceLength, verify }));
}

/**
 * The metainfo of a stored blob.
 * @returns null where there is none, or a damaged one; undefined where that cannot be told.
 */
export async function storedMetainfo(storage: Storage, id: string): Promise<Metainfo | null | undefined> {
  try {
    return decodeMetainfo(await storage.readMetaInfo(id));
  } catch (error) {
    return error instanceof MetainfoError || error instanceof BlobNotFoundError ? null : undefined;
  }
}
