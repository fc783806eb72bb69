/**
 * @module
 * BlobEvent to and from its protobuf message. What comes from a seeder is checked for shape here.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { MetaInfoError } from "./errors.ts";
import type { MetaInfoEvent, MetaInfoEventSchema } from "./gen/metainfo/metainfo_pb.ts";
import { type BlobEvent, MAX_INLINE_BYTES } from "./meta-info.ts";

/** The message of an event. */
export function toMessage(event: BlobEvent): MessageInitShape<typeof MetaInfoEventSchema> {
  switch (event.type) {
    case "blob": {
      const { digest, size, pieceLength, inline } = event;
      return {
        event: { case: "blob", value: { digest, size: BigInt(size), pieceLength, ...(inline && { inline }) } },
      };
    }
    case "hashes":
      return { event: { case: "hashes", value: { firstIndex: event.firstIndex, sha1s: event.sha1s } } };
    case "progress":
      return { event: { case: "progress", value: { bytes: BigInt(event.bytes) } } };
    case "metainfo":
      return { event: { case: "reply", value: { metainfo: event.metainfo } } };
  }
}

/**
 * The event of a message.
 * @returns undefined for a kind of event this version does not know: newer seeders may say more
 * @throws MetaInfoError "internal" if the message is not what the proto promises
 */
export function fromMessage({ event }: MetaInfoEvent): BlobEvent | undefined {
  switch (event.case) {
    case "blob": {
      const { digest, pieceLength, inline } = event.value;
      const size = safeNumber(event.value.size, "size");
      if (pieceLength === 0) throw malformed("piece_length is 0");
      // proto3 has no presence for bytes: an inline of no bytes is none.
      if (inline.length === 0) return { type: "blob", digest, size, pieceLength };
      if (inline.length !== size || size > MAX_INLINE_BYTES) {
        throw malformed(`inline has ${inline.length} bytes, the blob ${size}`);
      }
      return { type: "blob", digest, size, pieceLength, inline };
    }
    case "hashes": {
      const { firstIndex, sha1s } = event.value;
      if (sha1s.length % 20 !== 0) throw malformed(`sha1s has ${sha1s.length} bytes, no multiple of 20`);
      return { type: "hashes", firstIndex, sha1s };
    }
    case "progress":
      return { type: "progress", bytes: safeNumber(event.value.bytes, "bytes") };
    case "reply":
      return { type: "metainfo", metainfo: event.value.metainfo };
    default:
      return undefined;
  }
}

function safeNumber(value: bigint, field: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed(`${field} is ${value}`);
  return Number(value);
}

function malformed(what: string): MetaInfoError {
  return new MetaInfoError("internal", `malformed MetaInfoEvent: ${what}`);
}
