/**
 * How blobs are removed from outside while a host is at work: a file under `drop/` in its root directory, named by the
 * blob's id, asks for it; the host removes the blob as it would by itself, tells trackers and peers, and then the file.
 * @module
 */
import { mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { clearInterval, setInterval } from "node:timers";
import type { Logger } from "../log/log.ts";
import { isBlobId } from "../storage/index.ts";

const LOOK_MS = 2000;
/** Requests that are looked at in one turn. */
const MAX_REQUESTS = 1000;

/** The directory of requests within a root directory. */
function directoryOf(rootDirectory: string): string {
  return join(rootDirectory, "drop");
}

/** Looks for requests from `start` to `close`. */
export class RemovalRequests {
  readonly #directory: string;
  readonly #remove: (id: string) => Promise<void>;
  readonly #log: Pick<Logger, "warn" | "info">;
  /** Requests that failed: that is said once. */
  readonly #refused = new Set<string>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #looking: Promise<void> | undefined;

  /** @param init.remove Removes a blob, here or not. Rejects when the disk refuses. */
  constructor(init: {
    rootDirectory: string;
    remove: (id: string) => Promise<void>;
    log: Pick<Logger, "warn" | "info">;
  }) {
    this.#directory = directoryOf(init.rootDirectory);
    this.#remove = init.remove;
    this.#log = init.log;
  }

  start(): void {
    // Made by the host's own user, who has to remove what others put there.
    mkdir(this.#directory, { recursive: true }).catch(() => {});
    this.#timer ??= setInterval(() => {
      this.#looking ??= this.look().finally(() => {
        this.#looking = undefined;
      });
    }, LOOK_MS);
    this.#timer.unref();
  }

  /** Does what is asked for now. Never rejects. */
  async look(): Promise<void> {
    // Nearly always there is nothing, and no directory.
    const names = await readdir(this.#directory).catch(() => []);
    for (const name of names.slice(0, MAX_REQUESTS)) {
      try {
        if (isBlobId(name)) {
          await this.#remove(name);
          this.#log.info("removed a blob because somebody asked for it (eagle cache rm)", { blob: name });
        }
        await rm(join(this.#directory, name), { force: true, recursive: true });
      } catch (error) {
        if (this.#refused.has(name)) continue;
        if (this.#refused.size >= MAX_REQUESTS) this.#refused.clear();
        this.#refused.add(name);
        this.#log.warn("a blob that somebody wants to be removed could not be", { blob: name, error });
      }
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }
}

/**
 * Asks the host that works on a root directory to remove a blob, and waits for it.
 * @returns whether the host did it in time; the request is taken back otherwise.
 * @throws the system's error, or the signal's reason.
 */
export async function requestRemoval(
  { rootDirectory, id, timeoutMs = 15_000 }: { rootDirectory: string; id: string; timeoutMs?: number },
  signal: AbortSignal,
): Promise<boolean> {
  const directory = directoryOf(rootDirectory);
  await mkdir(directory, { recursive: true });
  const path = join(directory, id);
  await writeFile(path, "");
  try {
    for (const deadline = performance.now() + timeoutMs; performance.now() < deadline; ) {
      const isThere = await stat(path).then(
        () => true,
        () => false,
      );
      if (!isThere) return true;
      await new Promise((resolve) => setTimeout(resolve, 100));
      signal.throwIfAborted();
    }
    return false;
  } finally {
    await rm(path, { force: true });
  }
}
