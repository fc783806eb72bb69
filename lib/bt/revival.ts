/**
 * Takes the pieces of an earlier attempt up again: each is read back, and counts once its bytes have the hash that the
 * journal noted and the metainfo says. Without metainfo the journal's word is enough once somebody vouches for the blob
 * (`adopt`): what comes of it still has to agree with the digest of the whole.
 * @module
 */
import { createHash } from "node:crypto";
import type { BlobFile } from "./blob-file.ts";
import type { Layout } from "./layout.ts";
import { sameHash } from "./piece-hashes.ts";
import type { Claims } from "./piece-journal.ts";

/** What a revival works with, and whom it tells. */
export interface RevivalInit {
  readonly claims: Claims;
  readonly layout: Layout;
  readonly file: Pick<BlobFile, "read">;
  /** The bytes of a piece have the hash; they are lent for the call alone. */
  onPiece(piece: number, bytes: Uint8Array, sha1: Uint8Array): void;
  /** A piece is to be fetched like any other after all. */
  onDrop(piece: number): void;
}

/** See the module. One piece is read at a time, in order. */
export class Revival {
  readonly #init: RevivalInit;
  /** Not decided yet. */
  readonly #claims: Claims;
  /** To be read, in order. */
  readonly #ready: number[] = [];
  #next = 0;
  #running = false;
  #stopped = false;
  #adopted = false;

  constructor(init: RevivalInit) {
    this.#init = init;
    this.#claims = init.claims;
  }

  /** Pieces that are not decided yet. */
  get size(): number {
    return this.#claims.size;
  }

  /** Whether a piece is not decided yet: it should not be fetched meanwhile. */
  has(piece: number): boolean {
    return this.#claims.has(piece);
  }

  /** Pieces that are not decided yet, in no particular order. */
  pieces(): Iterable<number> {
    return this.#claims.keys();
  }

  /** The hash of a piece has become known. */
  onHash(piece: number, sha1: Uint8Array): void {
    const claimed = this.#claims.get(piece);
    if (!claimed) return;
    if (!sameHash(claimed, sha1)) this.drop(piece);
    else if (!this.#adopted) this.#queue(piece);
  }

  /** All that is noted may be taken up, known to the metainfo or not. */
  adopt(): void {
    if (this.#adopted) return;
    this.#adopted = true;
    for (const piece of [...this.#claims.keys()].sort((a, b) => a - b)) this.#queue(piece);
  }

  /** Leaves a piece to others: it has arrived, or the note is wrong. */
  drop(piece: number): void {
    if (this.#claims.delete(piece)) this.#init.onDrop(piece);
  }

  /** Leaves all to others. */
  stop(): void {
    this.#stopped = true;
    this.#claims.clear();
  }

  #queue(piece: number): void {
    this.#ready.push(piece);
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    const { layout, file, onPiece } = this.#init;
    this.#running = true;
    const buffer = new Uint8Array(layout.pieceLength);
    while (this.#next < this.#ready.length && !this.#stopped) {
      const piece = this.#ready[this.#next++]!;
      if (!this.#claims.has(piece)) continue;
      const bytes = buffer.subarray(0, layout.length(piece));
      // What the disk does not give back is fetched.
      const isRead = await file.read(bytes, layout.start(piece)).then(
        () => true,
        () => false,
      );
      const claimed = this.#claims.get(piece);
      if (!claimed || this.#stopped) continue;
      if (!isRead || !sameHash(createHash("sha1").update(bytes).digest(), claimed)) {
        this.drop(piece);
        continue;
      }
      this.#claims.delete(piece);
      onPiece(piece, bytes, claimed);
    }
    this.#running = false;
  }
}
