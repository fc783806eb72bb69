/**
 * What the file of a blob that arrives holds, noted beside it, so that a later attempt goes on where this one stopped,
 * in this process or, after kill -9, in the next: the index and the SHA-1 of each piece that was written.
 *
 * Nothing here is believed: bytes count again only once they have the noted hash. So nothing has to be durable in any
 * order, and a journal that is torn, old or another blob's costs no more than pieces that are fetched again.
 * @module
 */
import { open, rm } from "node:fs/promises";
import { Descriptor } from "./descriptor.ts";
import type { Layout } from "./layout.ts";
import { HASH_LENGTH } from "./piece-hashes.ts";

const MAGIC = Buffer.from("eagle pieces 1\n\0", "latin1");
/** The magic, the size and the piece length, 8 bytes each. */
const HEADER = MAGIC.length + 16;
/** The piece in 4 bytes, and its hash. */
const RECORD = 4 + HASH_LENGTH;
/** Bytes that wait to be written, at first: more than a piece's worth waits only where the disk is slow. */
const WAITING = HEADER + 8 * RECORD;

/** Pieces that a journal says are in the file, and their SHA-1. */
export type Claims = Map<number, Uint8Array>;

/** The journal of one attempt. A disk that refuses it ends it in silence: the blob itself needs none. */
export class PieceJournal {
  readonly path: string;
  readonly #layout: Layout;
  #file: Descriptor | undefined;
  #length: number;
  /** It has its header, or will have. */
  #begun: boolean;
  /** What waits to be written: so many bytes of it. */
  #waiting = Buffer.alloc(WAITING);
  #waits = 0;
  /** The same, while it is written. */
  #spare = Buffer.alloc(WAITING);
  #writing: Promise<void> | undefined;
  #closed = false;

  private constructor(path: string, layout: Layout, { length }: { length: number }) {
    this.path = path;
    this.#layout = layout;
    this.#length = length;
    this.#begun = length > 0;
  }

  /**
   * Goes on with the journal of an earlier attempt at the same blob, else begins anew. No file is made before the first
   * piece. The caller closes or discards it.
   * @returns what the journal says; nothing when the file beside it has to be begun anew.
   */
  static async open(path: string, layout: Layout): Promise<{ journal: PieceJournal; claims: Claims }> {
    const { claims, length } = await read(path, layout);
    if (claims.size === 0) await rm(path, { force: true }).catch(() => {});
    return { journal: new PieceJournal(path, layout, { length: claims.size === 0 ? 0 : length }), claims };
  }

  /** A piece was written. Returns at once. */
  note(piece: number, sha1: Uint8Array): void {
    if (this.#closed) return;
    if (!this.#begun) this.#append(HEADER).set(header(this.#layout));
    this.#begun = true;
    const record = this.#append(RECORD);
    record.writeUInt32BE(piece, 0);
    record.set(sha1, 4);
    this.#writing ??= this.#write();
  }

  /** Resolves when all that was noted is written, as far as the disk takes it. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#writing;
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch(() => {});
  }

  /** Closes and removes it: the blob is whole, or what came of it is worth nothing. Never rejects. */
  async discard(): Promise<void> {
    this.#waits = 0;
    await this.close();
    await rm(this.path, { force: true }).catch(() => {});
  }

  /** Room for so many bytes more, valid until the next call. */
  #append(bytes: number): Buffer {
    const end = this.#waits + bytes;
    if (end > this.#waiting.length) {
      const larger = Buffer.alloc(2 * end);
      larger.set(this.#waiting);
      this.#waiting = larger;
    }
    const room = this.#waiting.subarray(this.#waits, end);
    this.#waits = end;
    return room;
  }

  /** Writes at once; what is noted meanwhile goes together in the next write. */
  async #write(): Promise<void> {
    try {
      while (this.#waits > 0) {
        const buffer = this.#waiting;
        const bytes = buffer.subarray(0, this.#waits);
        this.#waiting = this.#spare;
        this.#spare = buffer;
        this.#waits = 0;
        // Not in append mode: what stands behind the last whole record is written over.
        this.#file ??= await Descriptor.open(this.path, this.#length === 0 ? "w+" : "r+");
        await this.#file.write(bytes, this.#length);
        this.#length += bytes.length;
      }
    } catch {
      this.#closed = true;
      this.#waits = 0;
    }
    this.#writing = undefined;
  }
}

function header({ size, pieceLength }: Layout): Buffer {
  const bytes = Buffer.alloc(HEADER);
  bytes.set(MAGIC);
  bytes.writeBigUInt64BE(BigInt(size), MAGIC.length);
  bytes.writeBigUInt64BE(BigInt(pieceLength), MAGIC.length + 8);
  return bytes;
}

/** @returns Nothing for what is missing, unreadable, or about a blob of another shape. */
async function read(path: string, layout: Layout): Promise<{ claims: Claims; length: number }> {
  const claims: Claims = new Map();
  const nothing = { claims, length: 0 };
  let bytes: Buffer;
  try {
    const file = await open(path, "r");
    try {
      const { size } = await file.stat();
      // A piece is noted again when what was there had another hash; many times over is no journal of ours.
      if (size < HEADER + RECORD || size > HEADER + 4 * layout.count * RECORD) return nothing;
      bytes = Buffer.alloc(size);
      const { bytesRead } = await file.read(bytes, 0, size, 0);
      bytes = bytes.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch {
    return nothing;
  }
  if (bytes.length < HEADER || !bytes.subarray(0, HEADER).equals(header(layout))) return nothing;
  let at = HEADER;
  for (; at + RECORD <= bytes.length; at += RECORD) {
    const piece = bytes.readUInt32BE(at);
    // Zeros, as a power cut may leave them: all behind is lost.
    if (piece >= layout.count || bytes.subarray(at + 4, at + RECORD).every((byte) => byte === 0)) break;
    claims.set(piece, Uint8Array.from(bytes.subarray(at + 4, at + RECORD)));
  }
  return { claims, length: at };
}
