/**
 * @module Torrents of blobs, for the clients that Eagle is compared with.
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import bencode from "bencode";
import { type BlobFile, hexOf } from "../blob-files.ts";

/** A torrent file and its name in the swarm. */
export interface Torrent {
  bytes: Uint8Array;
  /** Hex. */
  infoHash: string;
}

/** Makes a torrent of one file (BEP 3). @param init.pieceLength - bytes, a power of two. */
export function makeTorrent(
  blob: BlobFile,
  { announce, pieceLength }: { announce: string; pieceLength: number },
): Torrent {
  const pieces: Buffer[] = [];
  const buffer = Buffer.alloc(pieceLength);
  const file = openSync(blob.path, "r");
  for (let at = 0; at < blob.size; at += pieceLength) {
    const length = readSync(file, buffer, 0, pieceLength, at);
    pieces.push(createHash("sha1").update(buffer.subarray(0, length)).digest());
  }
  closeSync(file);
  const info = {
    length: blob.size,
    name: `${hexOf(blob)}.layer`,
    "piece length": pieceLength,
    pieces: Buffer.concat(pieces),
  };
  const infoHash = createHash("sha1").update(bencode.encode(info)).digest("hex");
  return { bytes: bencode.encode({ announce, info }), infoHash };
}
