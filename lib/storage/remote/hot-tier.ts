/**
 * @module
 * This host's bounded copy of what is in demand: whole blobs in `data/`, and blobs of which some pieces were read, as
 * sparse files in `hot/`. It may lose anything at any time: all of it is stored elsewhere. What is in it was verified.
 */

import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Logger } from "../../log/log.ts";
import {
  type BlobEntry,
  BlobNotFoundError,
  type BlobShape,
  type Copies,
  type Storage,
  StorageError,
} from "../storage.ts";

/** The disk is measured again after so many bytes. */
const measureEvery = 64 * 1024 * 1024;
/** Files kept open that nobody reads. */
const keepOpen = 64;

/** What a tier needs. */
export interface HotTierInit {
  /** Keeps whole blobs; closed by its owner. */
  readonly local: Storage;
  /** Most bytes kept. */
  readonly limitSize: number;
  /** Bytes to keep free on a disk of so many. */
  readonly minFree: (total: number) => number;
  readonly log?: Pick<Logger, "warn" | "debug"> | undefined;
  /** Monotonic ms. @default performance.now */
  readonly now?: () => number;
}

interface Copy {
  readonly id: string;
  /** On the disk. */
  bytes: number;
  /** Pieces that are there; undefined: all. */
  pieces: Set<number> | undefined;
  file: Promise<FileHandle> | undefined;
  /** Monotonic ms. */
  usedAt: number;
  /** Reads and writes under way. */
  users: number;
  gone: boolean;
}

/** See the module. Disk errors are misses here: the blob is read from where it is stored. */
export class HotTier implements Copies {
  readonly #init: HotTierInit;
  readonly #now: () => number;
  readonly #directory: string;
  /** Longest unused first. */
  readonly #copies = new Map<string, Copy>();
  /** Copies whose file is open, longest unused first. */
  readonly #opened = new Set<Copy>();
  /** Files that are being removed: their names must not be used before. */
  readonly #removing = new Map<string, Promise<void>>();
  #bytes = 0;
  #unmeasured = measureEvery;
  #refusedUntil = 0;

  private constructor(init: HotTierInit) {
    this.#init = init;
    this.#now = init.now ?? (() => performance.now());
    this.#directory = join(dirname(init.local.getDataDir()), "hot");
  }

  /** Takes over the whole blobs of an earlier process; what it had of others is given up. */
  static async open(init: HotTierInit): Promise<HotTier> {
    const tier = new HotTier(init);
    try {
      await rm(tier.#directory, { recursive: true, force: true });
      await mkdir(tier.#directory, { recursive: true });
    } catch (error) {
      init.log?.warn("the hot tier's disk failed; blobs are read from where they are stored", { error });
    }
    const found: BlobEntry[] = [];
    for await (const entry of init.local.list()) found.push(entry);
    const usedMs = ({ lastUsedMs = 0, modifiedMs }: BlobEntry) => Math.max(lastUsedMs, modifiedMs);
    found.sort((a, b) => usedMs(a) - usedMs(b));
    for (const entry of found) {
      const copy = tier.#add({ id: entry.id, bytes: entry.size, pieces: undefined });
      copy.usedAt -= Math.max(0, Date.now() - usedMs(entry));
    }
    await tier.makeRoom(0);
    return tier;
  }

  /** Bytes kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether the piece is here. */
  has(id: string, piece: number): boolean {
    const copy = this.#copies.get(id);
    return copy !== undefined && (copy.pieces === undefined || copy.pieces.has(piece));
  }

  /** Fills `target` with bytes of one piece. @returns false when they are not here */
  async read(
    id: string,
    piece: number,
    { target, position }: { target: Uint8Array; position: number },
  ): Promise<boolean> {
    const copy = this.#copies.get(id);
    if (!copy || !this.has(id, piece)) return false;
    this.#copies.delete(id);
    this.#copies.set(id, copy);
    copy.usedAt = this.#now();
    return await this.#using(copy, async (file) => {
      for (let filled = 0; filled < target.length; ) {
        const { bytesRead } = await file.read(target, filled, target.length - filled, position + filled);
        if (bytesRead === 0) throw new Error(`the copy of blob ${id} is too short`);
        filled += bytesRead;
      }
    });
  }

  /** Keeps a verified piece, room permitting. */
  async store(id: string, shape: BlobShape, { piece, bytes }: { piece: number; bytes: Uint8Array }): Promise<void> {
    if (this.has(id, piece) || !(await this.#admits(id, bytes.length))) return;
    const copy = this.#copies.get(id) ?? this.#add({ id, bytes: 0, pieces: new Set() });
    const kept = await this.#using(copy, async (file) => {
      let written = 0;
      while (written < bytes.length) {
        const at = piece * shape.pieceLength + written;
        written += (await file.write(bytes, written, bytes.length - written, at)).bytesWritten;
      }
    });
    if (!kept || copy.gone || !copy.pieces || copy.pieces.has(piece)) return;
    copy.pieces.add(piece);
    this.#grow(copy, bytes.length);
    if (copy.bytes === shape.size) await this.#complete(copy);
  }

  /** Takes a finished, verified file over. @throws StorageError; the file is untouched then */
  async keep(id: string, path: string, size: number): Promise<void> {
    this.giveUp(id);
    await this.#removing.get(id);
    await this.#init.local.upload(id, { path });
    this.giveUp(id, { file: false });
    this.#add({ id, bytes: size, pieces: undefined });
    await this.makeRoom(0);
  }

  /** Ids of whole copies. */
  *ids(): Generator<string> {
    for (const [id, { pieces }] of this.#copies) if (pieces === undefined) yield id;
  }

  size(id: string): number | undefined {
    const copy = this.#copies.get(id);
    return copy?.pieces === undefined ? copy?.bytes : undefined;
  }

  async remove(id: string, { damaged = false }: { damaged?: boolean } = {}): Promise<void> {
    this.giveUp(id, { readable: !damaged });
    await this.#removing.get(id);
    if (this.#copies.has(id)) throw new StorageError("io", `the disk refuses to remove the copy of blob ${id}`);
  }

  dropUnused(ttlMs: number): void {
    const oldest = this.#now() - ttlMs;
    for (const [id, { usedAt, users }] of this.#copies) if (usedAt < oldest && users === 0) this.giveUp(id);
  }

  /** Gives a copy up. One that the disk refuses to remove is kept, unless it cannot be read. */
  giveUp(id: string, { file = true, readable = true }: { file?: boolean; readable?: boolean } = {}): void {
    const copy = this.#copies.get(id);
    if (!copy) return;
    this.#copies.delete(id);
    this.#bytes -= copy.bytes;
    copy.gone = true;
    void this.#letGo(copy);
    if (!file) return;
    const path = this.#path(id);
    const removal = (copy.pieces === undefined ? this.#init.local.delete(id) : rm(path, { force: true }))
      .catch((error: unknown) => {
        if (error instanceof BlobNotFoundError) return;
        this.#init.log?.warn("a copy of a blob could not be removed; that is tried again", { blob: id, error });
        if (readable && !this.#copies.has(id)) this.#add(copy);
      })
      .finally(() => {
        if (this.#removing.get(id) === removal) this.#removing.delete(id);
      });
    this.#removing.set(id, removal);
  }

  /** Gives up what is needed for so many bytes more, the longest unused first. */
  async makeRoom(bytes: number): Promise<void> {
    for (const id of this.#copies.keys()) {
      if (this.#bytes + bytes <= this.#init.limitSize) break;
      this.giveUp(id);
    }
    let missing = await this.#missing(bytes);
    for (const [id, copy] of this.#copies) {
      if (missing <= 0) break;
      missing -= copy.bytes;
      this.giveUp(id);
    }
  }

  /** Closes all files. */
  async close(): Promise<void> {
    await Promise.all([...this.#opened].map((copy) => this.#letGo(copy, { inUse: true })));
    await Promise.all(this.#removing.values());
  }

  #add({ id, bytes, pieces }: Pick<Copy, "id" | "bytes" | "pieces">): Copy {
    const copy: Copy = { id, bytes: 0, pieces, file: undefined, usedAt: this.#now(), users: 0, gone: false };
    this.#copies.set(id, copy);
    this.#grow(copy, bytes);
    return copy;
  }

  #grow(copy: Copy, bytes: number): void {
    copy.bytes += bytes;
    this.#bytes += bytes;
  }

  /** Whether a piece of `id` may be written, after others were given up for it. Never gives up `id` itself. */
  async #admits(id: string, bytes: number): Promise<boolean> {
    if (performance.now() < this.#refusedUntil) return false;
    for (const other of this.#copies.keys()) {
      if (this.#bytes + bytes <= this.#init.limitSize) break;
      if (other !== id) this.giveUp(other);
    }
    if (this.#bytes + bytes > this.#init.limitSize) return false;
    this.#unmeasured += bytes;
    if (this.#unmeasured < measureEvery) return true;
    this.#unmeasured = 0;
    let missing = await this.#missing(measureEvery);
    for (const [other, copy] of this.#copies) {
      if (missing <= 0) break;
      if (other === id) continue;
      missing -= copy.bytes;
      this.giveUp(other);
    }
    if (missing <= 0) return true;
    // Looking at a full disk again for each piece would help nobody.
    this.#refusedUntil = performance.now() + 5_000;
    return false;
  }

  /** Bytes that the disk lacks to take so many more. */
  async #missing(bytes: number): Promise<number> {
    try {
      const { free, total } = await this.#init.local.freeSpace();
      return bytes + this.#init.minFree(total) - free;
    } catch (error) {
      this.#init.log?.warn("cannot measure the free space of the disk", { error });
      return 0;
    }
  }

  async #complete(copy: Copy): Promise<void> {
    try {
      await this.#init.local.upload(copy.id, { path: this.#path(copy.id) });
      if (copy.gone) await this.#init.local.delete(copy.id).catch(() => {});
      else copy.pieces = undefined;
    } catch (error) {
      this.#init.log?.warn("a copy of a blob could not be completed", { blob: copy.id, error });
      this.giveUp(copy.id);
    }
  }

  /** @returns false when the disk failed: the copy is given up then */
  async #using(copy: Copy, use: (file: FileHandle) => Promise<void>): Promise<boolean> {
    copy.users++;
    try {
      await use(await this.#file(copy));
      return true;
    } catch (error) {
      this.#init.log?.warn("the hot tier's disk failed; blobs are read from where they are stored", {
        blob: copy.id,
        error,
      });
      if (!copy.gone) this.giveUp(copy.id, { readable: false });
      return false;
    } finally {
      copy.users--;
      if (copy.gone) void this.#letGo(copy);
    }
  }

  #file(copy: Copy): Promise<FileHandle> {
    this.#opened.delete(copy);
    this.#opened.add(copy);
    copy.file ??= this.#openFile(copy);
    for (const longest of this.#opened) {
      if (this.#opened.size <= keepOpen) break;
      void this.#letGo(longest);
    }
    return copy.file;
  }

  async #openFile({ id, pieces }: Copy): Promise<FileHandle> {
    await this.#removing.get(id);
    if (!pieces) return await open(this.#init.local.getFilePath(id), "r");
    // The disk may have refused it at the start.
    if (pieces.size === 0) await mkdir(this.#directory, { recursive: true });
    return await open(this.#path(id), pieces.size > 0 ? "r+" : "w+");
  }

  async #letGo(copy: Copy, { inUse = false }: { inUse?: boolean } = {}): Promise<void> {
    if (copy.users > 0 && !inUse) return;
    const { file } = copy;
    copy.file = undefined;
    this.#opened.delete(copy);
    await file?.then((handle) => handle.close()).catch(() => {});
  }

  #path(id: string): string {
    return join(this.#directory, id);
  }
}
