/**
 * What Eagle's peers say to each other besides bytes of blobs (docs/design.md, "Peer HTTP").
 * @module
 */
import { Bitfield } from "./bitfield.ts";

export const HEADER = {
  /** SHA-1 of the piece in the body, hex. */
  sha1: "eagle-piece-sha1",
  /** Index of the piece the uploader chose. */
  piece: "eagle-piece",
  /** A piece the asker's reader waits for. */
  want: "eagle-want",
  /** Who asks, so that the answerer can ask back: see `PeerHeader`. */
  peer: "eagle-peer",
} as const;

/** Longest line of an availability stream: a bitfield of 4 Mi pieces in base64. */
export const MAX_LINE = 800 * 1024;

/** A line of an availability stream. */
export type AvailabilityLine =
  | { readonly type: "have"; readonly bits: Bitfield }
  | { readonly type: "add"; readonly pieces: readonly number[] }
  | { readonly type: "remove"; readonly pieces: readonly number[] };

/** Thrown for a line about a blob cut in another way: that peer follows another list, which is no lie. */
export class OtherLayoutError extends Error {
  override readonly name = "OtherLayoutError";
}

/** One JSON object a line; an empty line keeps the connection alive. */
export function formatLine(line: AvailabilityLine): string {
  if (line.type !== "have") return `${JSON.stringify({ [line.type]: line.pieces })}\n`;
  return `${JSON.stringify({ pieces: line.bits.length, have: Buffer.from(line.bits.bytes).toString("base64") })}\n`;
}

/**
 * @param count Pieces of the blob.
 * @throws Error for a line that makes no sense for such a blob.
 */
export function parseLine(text: string, count: number): AvailabilityLine {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null) throw new Error("a line is not an object");
  const line = value as Record<string, unknown>;
  if (typeof line.have === "string") {
    if (line.pieces !== count)
      throw new OtherLayoutError(`the peer's blob has ${String(line.pieces)} pieces, not ${count}`);
    return { type: "have", bits: new Bitfield(count, Buffer.from(line.have, "base64")) };
  }
  for (const type of ["add", "remove"] as const) {
    const pieces = line[type];
    if (
      Array.isArray(pieces) &&
      pieces.length <= count &&
      pieces.every((piece) => Number.isInteger(piece) && piece >= 0 && piece < count)
    ) {
      return { type, pieces };
    }
  }
  throw new Error("a line is neither have, add nor remove");
}

/** An `Eagle-Peer` header: `<peer id>;<port>`, and `;<download>` where that is said. */
export interface PeerHeader {
  /** 40 hex. */
  readonly peerId: string;
  readonly port: number;
  /** 8 hex, another for each time that the host fetches the blob: one that starts anew has nothing of what it had. */
  readonly download?: string | undefined;
}

/** What `parsePeerHeader` reads. */
export function formatPeerHeader({ peerId, port, download }: PeerHeader): string {
  return download === undefined ? `${peerId};${port}` : `${peerId};${port};${download}`;
}

/** Reads an `Eagle-Peer` header; undefined when it is none. */
export function parsePeerHeader(text: string | null | undefined): PeerHeader | undefined {
  const match = /^([0-9a-f]{40});([0-9]{1,5})(?:;([0-9a-f]{8}))?$/.exec(text ?? "");
  if (!match) return undefined;
  const port = Number(match[2]);
  return port > 0 && port < 65536 ? { peerId: match[1]!, port, download: match[3] } : undefined;
}
