/**
 * Whether this host's disk takes blobs. Pulls go on without it, so nobody would notice that it does not: it is said
 * once in plain words, again now and then, and when it is over.
 * @module
 */
import type { Logger } from "../log/log.ts";
import { diskTrouble } from "../storage/disk-trouble.ts";
import type { OnDiskTrouble } from "../storage/index.ts";

/** While the disk fails that is said again after so long, ms. */
const AGAIN_MS = 60_000;

export interface DiskHealthInit {
  readonly log: Pick<Logger, "error" | "info">;
  /** Monotonic ms. @default performance.now */
  readonly now?: () => number;
}

/** Says that a disk takes no writes at a start, which goes on without it, and when it does. */
export function troubleAtStart(log: DiskHealthInit["log"]): OnDiskTrouble {
  return (error) => {
    if (error === undefined) log.info("the disk takes writes now: the root directory is locked, blobs are kept on it");
    else if (error.code === "locked") log.error(error.message);
    else {
      const until = "until that is mended what is stored is served, and all else comes straight from its registry";
      log.error(`${error.message}; ${until}`, { code: diskTrouble(error)?.code });
    }
  };
}

/** See the module. */
export class DiskHealth {
  readonly #log: DiskHealthInit["log"];
  readonly #now: () => number;
  /** Failures since it worked. */
  #failures = 0;
  #code = "";
  #saidAt = 0;

  constructor({ log, now = () => performance.now() }: DiskHealthInit) {
    this.#log = log;
    this.#now = now;
  }

  /** Whether the latest that was tried failed. */
  get isFailing(): boolean {
    return this.#failures > 0;
  }

  /** Something could not be written or read. Errors that have no disk's error among their causes are not its fault. */
  failed(error: unknown, blob: string): void {
    const trouble = diskTrouble(error);
    if (!trouble) return;
    this.#failures += 1;
    const isNews = this.#failures === 1 || trouble.code !== this.#code;
    if (!isNews && this.#now() - this.#saidAt < AGAIN_MS) return;
    this.#saidAt = this.#now();
    this.#code = trouble.code;
    const { code, reason, advice } = trouble;
    const failures = this.#failures;
    this.#log.error(
      `${reason}: what cannot be kept here comes straight from its registry until that is mended; ${advice}`,
      { code, blob, failures, error },
    );
  }

  /** A blob was stored. */
  worked(): void {
    if (!this.isFailing) return;
    this.#log.info("the disk works again: blobs are kept on it as before", { failures: this.#failures });
    this.#failures = 0;
  }
}
