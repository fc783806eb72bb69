/**
 * What a host does for its stored blobs while nobody asks for any: looks for those that the disk has damaged, sweeps what
 * was left half-arrived, and removes what somebody wants removed.
 * @module
 */

import { dirname } from "node:path";
import { clearInterval, setInterval } from "node:timers";
import type { Logger } from "../log/log.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Digest } from "../registry/digest.ts";
import { BlobNotFoundError, type Copies, type Storage } from "../storage/index.ts";
import { openBlobFile } from "./blob-file.ts";
import type { Leftovers } from "./leftovers.ts";
import { decodeMetainfo, MetainfoError } from "./metainfo.ts";
import { RemovalRequests } from "./removal-requests.ts";
import { Scrub } from "./scrub.ts";
import { verifyBlob, verifyBytes } from "./verify-blob.ts";

const SWEEP_MS = 10 * 60 * 1000;

/** The store as its upkeep sees it. */
export interface Kept {
  /** Ids of committed blobs. */
  ids(): Iterable<string>;
  isCommitted(id: string): boolean;
  digestOf(id: string): Digest;
  /** Notes on the disk when the blob was used, which reading it to check it has changed. */
  restoreUse(id: string): Promise<void>;
  /** Removes a blob. @param damage What is wrong with it; then who reads it now goes on elsewhere. */
  remove(id: string, damage?: string): Promise<void>;
  /** Blobs arrive now. */
  isBusy(): boolean;
}

export interface UpkeepInit {
  readonly storage: Storage;
  readonly leftovers: Leftovers;
  readonly kept: Kept;
  /** Bytes a second of stored blobs that are read again; 0: none. */
  readonly scrubRate: number;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** @default that of `Scrub` */
  readonly scrubDelayMs?: number | undefined;
  /** Where blobs are stored elsewhere: a copy that nobody read for so long is given up, ms. @default never */
  readonly ttlMs?: number | undefined;
}

/** See the module. Works from `start` to `close`. */
export class Upkeep {
  readonly #init: UpkeepInit;
  /** Where blobs are stored elsewhere: what of them is here. */
  readonly #copies: Copies | undefined;
  readonly #scrub: Scrub;
  readonly #requests: RemovalRequests;
  #sweeping: ReturnType<typeof setInterval> | undefined;

  constructor(init: UpkeepInit) {
    const { storage, kept, scrubRate: rate, log, scrubDelayMs } = init;
    this.#init = init;
    // What is stored elsewhere is verified piece by piece when it is read; this host's whole copies are not.
    this.#copies = storage.remote?.copies;
    this.#scrub = new Scrub({
      rate,
      ids: () => (this.#copies ?? kept).ids(),
      verify: (id, turn, signal) => this.#verify(id, { turn, signal }),
      isBusy: () => kept.isBusy(),
      log,
      ...(scrubDelayMs === undefined ? {} : { delayMs: scrubDelayMs }),
    });
    // What is stored elsewhere may be others' as well: this directory is not the place to have it removed.
    this.#requests = new RemovalRequests({
      rootDirectory: dirname(storage.getDataDir()),
      remove: (id) => this.#remove(id),
      log,
    });
  }

  start(): void {
    this.#scrub.start();
    this.#requests.start();
    this.#sweep();
    this.#sweeping = setInterval(() => this.#sweep(), SWEEP_MS);
    this.#sweeping.unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeping);
    await this.#scrub.close();
    await this.#requests.close();
  }

  #sweep(): void {
    const { leftovers, ttlMs } = this.#init;
    leftovers.sweep();
    if (ttlMs !== undefined) this.#copies?.dropUnused(ttlMs);
  }

  /** @param damage See `Kept.remove`. */
  async #remove(id: string, damage?: string): Promise<void> {
    if (this.#copies) await this.#copies.remove(id, { damaged: damage !== undefined });
    else await this.#init.kept.remove(id, damage);
  }

  #isHere(id: string): boolean {
    return this.#copies ? this.#copies.size(id) !== undefined : this.#init.kept.isCommitted(id);
  }

  async #verify(
    id: string,
    { turn, signal }: { turn: (bytes: number) => Promise<void>; signal: AbortSignal },
  ): Promise<void> {
    const { kept, metrics, log } = this.#init;
    if (!this.#isHere(id)) return;
    let damage: string | undefined;
    try {
      damage = await this.#damageOf(id, async (bytes) => {
        await turn(bytes);
        metrics.scrubbedBytes.inc(bytes);
      });
    } catch (error) {
      signal.throwIfAborted();
      log.debug("a stored blob could not be checked", { blob: id, error });
    }
    // It may have left meanwhile.
    if (!this.#isHere(id)) return;
    if (damage === undefined) {
      await kept.restoreUse(id).catch(() => {});
      return;
    }
    metrics.damagedBlobs.inc();
    const then = this.#copies
      ? "a copy of a stored blob is damaged: it is removed, and read from where it is stored"
      : "a stored blob is damaged: it is removed, and fetched anew when it is asked for";
    log.warn(`${then}; check the disk's health`, { blob: id, damage: `the blob ${damage}` });
    await this.#remove(id, damage).catch(() => {});
  }

  /** @throws what says nothing about the blob: too many open files, say. */
  async #damageOf(id: string, turn: (bytes: number) => Promise<void>): Promise<string | undefined> {
    const { storage, kept } = this.#init;
    await turn(0);
    try {
      if (this.#copies) return await this.#damageOfCopy(id, turn);
      const metainfo = decodeMetainfo(await storage.readMetaInfo(id));
      if (metainfo.id !== id) return "has another blob's metainfo";
      const file = await openBlobFile(storage.getFilePath(id), "r");
      try {
        return await verifyBlob({ digest: kept.digestOf(id), metainfo, file, turn });
      } finally {
        await file.close();
      }
    } catch (error) {
      const damage = damageIn(error);
      if (damage === undefined) throw error;
      return damage;
    }
  }

  /** Its metainfo is elsewhere: the digest alone says what is right. */
  async #damageOfCopy(id: string, turn: (bytes: number) => Promise<void>): Promise<string | undefined> {
    const { storage, kept } = this.#init;
    const size = this.#copies?.size(id) ?? 0;
    const file = await openBlobFile(storage.getFilePath(id), "r");
    try {
      return await verifyBytes({ digest: kept.digestOf(id), size, file, turn });
    } finally {
      await file.close();
    }
  }
}

/** What an error that came of reading a blob says about it; undefined when it says nothing. */
export function damageIn(error: unknown): string | undefined {
  if (error instanceof MetainfoError) return `has damaged metainfo (${error.message})`;
  if (error instanceof BlobNotFoundError) return "has no metainfo";
  if (!(error instanceof Error)) return undefined;
  const code = "code" in error ? error.code : undefined;
  if (code === "ENOENT") return "has no file";
  if (code === "EIO") return "cannot be read: the disk fails (EIO)";
  return code === undefined && / ends at \d+/.test(error.message) ? "has a file that is too short" : undefined;
}
