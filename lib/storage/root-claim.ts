/**
 * @module
 * A process's claim on a root directory: its directories, and the lock that keeps others off.
 *
 * A full or read-only disk refuses both. Who can do without for a while (what is stored can be read all the same) is told
 * of it, and the claim is tried again until it stands.
 */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { diskTrouble, withReason } from "./disk-trouble.ts";
import { acquireLock, type Lock, ownerOf } from "./lock.ts";
import { StorageError } from "./storage.ts";

/** What a disk may get over while a process runs. All else is for whoever set it up: it is told at once. */
const passing: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EROFS", "EIO"]);

/** Hears of a disk that does not take what is to be written at a start; with undefined, that it does now. */
export type OnDiskTrouble = (error: StorageError | undefined) => void;

/** What is claimed. */
export interface RootClaimInit {
  /** Absolute path. */
  readonly root: string;
  /** Made where they are missing. */
  readonly directories: readonly string[];
  /** Without it `claim` throws whatever hinders it. */
  readonly onTrouble?: OnDiskTrouble | undefined;
  /** Between attempts, ms. @default 5000 */
  readonly againMs?: number;
  /** @default acquireLock */
  readonly acquire?: (path: string) => Promise<Lock>;
}

/** See the module. */
export class RootClaim {
  readonly #init: RootClaimInit;
  #lock: Lock | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #trying: Promise<void> | undefined;
  /** The latest that was told. */
  #told = "";
  #released = false;

  private constructor(init: RootClaimInit) {
    this.#init = init;
  }

  /** @throws StorageError "locked" when a living process works there; "io" or "no_space" for what will not pass */
  static async claim(init: RootClaimInit): Promise<RootClaim> {
    const claim = new RootClaim(init);
    try {
      await claim.#take();
    } catch (error) {
      const owner = isPassing(error) ? await ownerOf(claim.#lockPath) : undefined;
      if (owner !== undefined) {
        throw new StorageError("locked", `process ${owner} works on ${init.root}; stop it first`, { cause: error });
      }
      if (!init.onTrouble || !isPassing(error)) throw error;
      claim.#tell(error);
      claim.#later();
    }
    return claim;
  }

  /** Gives the lock up, or ceases to try for it. */
  async release(): Promise<void> {
    this.#released = true;
    clearTimeout(this.#timer);
    await this.#trying;
    await this.#lock?.release();
  }

  get #lockPath(): string {
    return join(this.#init.root, "lock");
  }

  async #take(): Promise<void> {
    const { root, directories, acquire = acquireLock } = this.#init;
    await made(root);
    const lock = await acquire(this.#lockPath);
    try {
      for (const directory of directories) await made(directory);
    } catch (error) {
      await lock.release();
      throw error;
    }
    this.#lock = lock;
  }

  #later(): void {
    this.#timer = setTimeout(() => {
      this.#trying = this.#take()
        .then(
          () => this.#tell(undefined),
          (error: StorageError) => {
            this.#tell(error);
            if (!this.#released) this.#later();
          },
        )
        .finally(() => {
          this.#trying = undefined;
        });
    }, this.#init.againMs ?? 5_000);
    this.#timer.unref();
  }

  /** Says what is new. */
  #tell(error: StorageError | undefined): void {
    const text = error?.message ?? "";
    if (text === this.#told) return;
    this.#told = text;
    this.#init.onTrouble?.(error);
  }
}

function isPassing(error: unknown): error is StorageError {
  return error instanceof StorageError && passing.has(diskTrouble(error)?.code ?? "");
}

async function made(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const about = withReason(`cannot make the directory ${directory}`, cause);
    throw new StorageError(code === "ENOSPC" || code === "EDQUOT" ? "no_space" : "io", about, { cause });
  }
}
