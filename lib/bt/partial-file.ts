/**
 * The file of a blob that arrives, with its journal: what is written survives the attempt, so that the next one goes on.
 * @module
 */
import { rm } from "node:fs/promises";
import { type BlobFile, openBlobFile } from "./blob-file.ts";
import type { Layout } from "./layout.ts";
import { type Claims, PieceJournal } from "./piece-journal.ts";

/** Where a blob fills. */
export interface PartialPlace {
  readonly path: string;
  /** Where is noted what the file holds; without it nothing survives. */
  readonly journal?: string;
}

/** See the module. Positions and lengths in bytes. */
export class PartialFile implements BlobFile {
  /** Pieces that the journal says an earlier attempt left; whoever uses them verifies them. */
  readonly claims: Claims;
  readonly #place: PartialPlace;
  readonly #layout: Layout;
  readonly #file: BlobFile;
  readonly #journal: PieceJournal | undefined;
  readonly #writing = new Map<number, Promise<void>>();

  private constructor(
    place: PartialPlace,
    { layout, file, journal, claims }: { layout: Layout; file: BlobFile; journal?: PieceJournal; claims: Claims },
  ) {
    this.claims = claims;
    this.#place = place;
    this.#layout = layout;
    this.#file = file;
    this.#journal = journal;
  }

  /** Goes on with the file of an earlier attempt where there is one that can be used. @throws the system's error */
  static async open(place: PartialPlace, layout: Layout): Promise<PartialFile> {
    const { path } = place;
    const isOnePiece = layout.count === 1;
    const opened =
      place.journal === undefined || isOnePiece ? undefined : await PieceJournal.open(place.journal, layout);
    const { journal, claims = new Map() } = opened ?? {};
    const common = { layout, ...(journal ? { journal } : {}) };
    if (claims.size > 0) {
      const file = await openBlobFile(path, "r+").catch(() => undefined);
      if (file) return new PartialFile(place, { ...common, file, claims });
    }
    // Not truncated: who read from a failed attempt may have to read again what it passed on.
    await rm(path, { force: true });
    return new PartialFile(place, { ...common, file: await openBlobFile(path, "w+"), claims: new Map() });
  }

  /** Removes what there is at a place that could not be opened. Never rejects. */
  static async discard({ path, journal }: PartialPlace): Promise<void> {
    await rm(path, { force: true }).catch(() => {});
    if (journal !== undefined) await rm(journal, { force: true }).catch(() => {});
  }

  /** Pieces on their way to the disk. */
  get writing(): ReadonlyMap<number, unknown> {
    return this.#writing;
  }

  /** @throws the system's error */
  async writePiece(piece: number, bytes: Uint8Array): Promise<void> {
    const writing = this.#file.write(bytes, this.#layout.start(piece));
    this.#writing.set(piece, writing);
    try {
      await writing;
    } finally {
      this.#writing.delete(piece);
    }
  }

  /** The piece is there, and this is its hash. */
  note(piece: number, sha1: Uint8Array): void {
    this.#journal?.note(piece, sha1);
  }

  /** Resolves when nothing is on its way to the disk: it must not land under the feet of the next attempt. */
  async written(): Promise<void> {
    await Promise.allSettled(this.#writing.values());
  }

  /** Leaves it to the next attempt. @returns whether that will find it. */
  async keep(): Promise<boolean> {
    await this.#journal?.close();
    return this.#journal !== undefined;
  }

  /** Removes file and journal. Who has the file open may read on. Never rejects. */
  async discard(): Promise<void> {
    await this.#journal?.discard();
    await PartialFile.discard(this.#place);
  }

  /** The file has been taken over: the journal is of no use any more. */
  async published(): Promise<void> {
    await this.#journal?.discard();
  }

  read(target: Uint8Array, position: number): Promise<void> {
    return this.#file.read(target, position);
  }

  write(bytes: Uint8Array, position: number): Promise<void> {
    return this.#file.write(bytes, position);
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
