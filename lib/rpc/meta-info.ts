/**
 * @module
 * What the MetaInfo service says and is asked, in the words of Eagle rather than of protobuf.
 * Wire form: proto/metainfo/metainfo.proto.
 */

/** One step of a metainfo's making. The order is: `blob`, then `hashes` and `progress`, at last `metainfo`. */
export type BlobEvent =
  /** `size` and `pieceLength` in bytes; `inline` is the whole blob, where it is {@link MAX_INLINE_BYTES} or smaller. */
  | { type: "blob"; digest: string; size: number; pieceLength: number; inline?: Uint8Array }
  /** SHA-1 hashes of consecutive pieces from piece `firstIndex` on, 20 bytes a piece. */
  | { type: "hashes"; firstIndex: number; sha1s: Uint8Array }
  /** Bytes of the blob the seeder has read so far. May come before `blob`, with 0, as a sign of life. */
  | { type: "progress"; bytes: number }
  /** The bencoded metainfo (BEP 3), complete. Last. */
  | { type: "metainfo"; metainfo: Uint8Array };

/** A question to the service. */
export interface MetaInfoQuery {
  /** Whole URL of the blob at an allowed origin, or its path at the default origin. */
  url: string;
  /** The caller's `Authorization` for the origin, verbatim. A secret: never logged, taken from parts alone. */
  authorization?: string;
  /** A part of this cluster asks. Only it may have what is private, or have it read with its caller's credentials. */
  isPart?: boolean;
  /** Aborted when the asker has gone. What the seeder began for others it finishes all the same. */
  signal: AbortSignal;
}

/** What a seeder implements. Both reject (or throw while iterated) with `MetaInfoError`; any other error reaches the asker as a bare "internal". */
export interface MetaInfoService {
  /** @returns the bencoded metainfo, once it is whole. */
  getMetaInfo(request: MetaInfoQuery): Promise<Uint8Array>;
  /** Tells what is known as it becomes known. Its iterator is returned (`return()`) when the asker leaves. */
  streamMetaInfo(request: MetaInfoQuery): AsyncIterable<BlobEvent>;
}

/** The request header that carries {@link MetaInfoQuery.authorization}. */
export const AUTHORIZATION_HEADER = "eagle-authorization";

/** Largest request message, in bytes. */
export const MAX_REQUEST_BYTES = 64 * 1024;

/** Largest reply message, in bytes. */
export const MAX_REPLY_BYTES = 64 * 1024 * 1024;

/** Largest blob that travels inside its `blob` event, in bytes. */
export const MAX_INLINE_BYTES = 256 * 1024;

/** Longest {@link MetaInfoQuery.authorization}, in bytes: half of what a server takes as headers. */
export const MAX_AUTHORIZATION_BYTES = 16 * 1024;
