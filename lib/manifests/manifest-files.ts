/**
 * Small files of a cache, within bounds: what an earlier process kept is found again by its name. Nothing here is
 * needed; what cannot be written or read is as good as forgotten.
 * @module
 */
import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Logger, silentLogger } from "../log/log.ts";

/** Writes that may wait; beyond that a write is dropped. */
const MAX_WAITING = 256;
/** Files written between two looks at the bounds; or a tenth of the bytes. */
const SWEEP_EVERY = 200;
/** A file in use is marked as such at most so often, ms: what goes first is what was used least recently. */
const TOUCH_EVERY_MS = 10 * 60_000;

export interface ManifestFilesInit {
  /** Made when missing; nothing else may live in it. */
  readonly directory: string;
  /** Bytes of all files. @default 256 MiB */
  readonly maxBytes?: number;
  /** @default 20000 */
  readonly maxFiles?: number;
  readonly log?: Logger;
}

/** See the module. Close it. */
export class ManifestFiles {
  readonly #directory: string;
  readonly #maxBytes: number;
  readonly #maxFiles: number;
  readonly #log: Logger;
  #work: Promise<void> = Promise.resolve();
  #waiting = 0;
  #written = { files: 0, bytes: 0 };
  #complained = false;
  #closed = false;

  constructor({ directory, maxBytes = 256 * 1024 * 1024, maxFiles = 20_000, log = silentLogger }: ManifestFilesInit) {
    this.#directory = directory;
    this.#maxBytes = maxBytes;
    this.#maxFiles = maxFiles;
    this.#log = log;
    this.#enqueue(async () => {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      await this.#sweep();
    });
  }

  /** @returns undefined when there is none, it is longer than `maxBytes`, or it cannot be read. */
  async read(name: string, maxBytes: number): Promise<Buffer | undefined> {
    const path = join(this.#directory, name);
    try {
      const { size, mtimeMs } = await stat(path);
      if (size > maxBytes) return undefined;
      const now = Date.now();
      if (now - mtimeMs > TOUCH_EVERY_MS) this.#enqueue(() => utimes(path, now / 1000, now / 1000));
      return await readFile(path);
    } catch {
      return undefined;
    }
  }

  /** Writes in its turn: whole or not at all. */
  write(name: string, bytes: Uint8Array): void {
    this.#enqueue(async () => {
      const draft = join(this.#directory, `${randomUUID()}.draft`);
      try {
        await writeFile(draft, bytes, { mode: 0o600, flag: "wx" });
        await rename(draft, join(this.#directory, name));
      } catch (error) {
        await rm(draft, { force: true }).catch(() => {});
        throw error;
      }
      this.#written.files++;
      this.#written.bytes += bytes.length;
      if (this.#written.files >= SWEEP_EVERY || this.#written.bytes > this.#maxBytes / 10) await this.#sweep();
    });
  }

  /** Removes in its turn. */
  remove(name: string): void {
    this.#enqueue(() => rm(join(this.#directory, name), { force: true }));
  }

  /** Resolves when everything that was begun is done. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#work;
  }

  #enqueue(task: () => Promise<unknown>): void {
    if (this.#closed || this.#waiting >= MAX_WAITING) return;
    this.#waiting++;
    this.#work = this.#work
      .then(task)
      .then(
        () => {
          this.#complained = false;
        },
        (error: NodeJS.ErrnoException) => {
          // A file that was removed meanwhile cannot be marked as used.
          if (error.code === "ENOENT" || this.#complained) return;
          this.#complained = true;
          this.#log.warn("manifests cannot be kept on the disk: after a restart the registry is asked for them again", {
            directory: this.#directory,
            error,
          });
        },
      )
      .finally(() => {
        this.#waiting--;
      });
  }

  /** Back to nine tenths of the bounds, the least recently used first; drafts of a killed process go as well. */
  async #sweep(): Promise<void> {
    this.#written = { files: 0, bytes: 0 };
    const files: { path: string; size: number; usedAt: number }[] = [];
    let bytes = 0;
    for (const name of await readdir(this.#directory)) {
      const path = join(this.#directory, name);
      const found = await stat(path).catch(() => undefined);
      if (!found?.isFile()) continue;
      if (name.endsWith(".draft")) await rm(path, { force: true });
      else {
        files.push({ path, size: found.size, usedAt: found.mtimeMs });
        bytes += found.size;
      }
    }
    if (bytes <= this.#maxBytes && files.length <= this.#maxFiles) return;
    files.sort((a, b) => a.usedAt - b.usedAt);
    let left = files.length;
    for (const { path, size } of files) {
      if (bytes <= this.#maxBytes * 0.9 && left <= this.#maxFiles * 0.9) break;
      await rm(path, { force: true });
      bytes -= size;
      left--;
    }
  }
}
