/**
 * Makes a lost seeder good: the seeders are asked again, since another one has the blob too, or can read it, and the same
 * one does once it is back.
 * @module
 */
import type { Logger } from "../log/log.ts";
import { sleep } from "./sleep.ts";

/** The second time they are asked after so long, ms, then after twice as long each time, up to the longest. */
const PAUSE_MS = { second: 500, longest: 8000 };
/** Up to this share of a pause less, by chance: those who lost the same seeder do not all come back in one moment. */
const JITTER = 0.5;

/** What a search needs. */
export interface SeederSearchInit {
  /** Asks the seeders, and takes what one of them tells until it has told all. */
  ask(signal: AbortSignal): Promise<void>;
  /** Whether asking that ended in this error may bring something later: else the search ends. */
  mayPass(error: unknown): boolean;
  readonly log: Pick<Logger, "info" | "debug">;
  /** In [0, 1). */
  readonly random?: () => number;
  /** Waits so many ms, or rejects with the signal's reason. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** See the module. `run` it once. */
export class SeederSearch {
  readonly #init: SeederSearchInit;
  readonly #random: () => number;
  #lost = Promise.withResolvers<void>();
  #asked = 0;
  #isAsking = false;

  constructor(init: SeederSearchInit) {
    this.#init = init;
    this.#random = init.random ?? Math.random;
  }

  /** Whether an answer is awaited. */
  get isAsking(): boolean {
    return this.#isAsking;
  }

  /** A seeder does not answer, or its pieces come no more. */
  lose({ asked = false }: { /** All of them have just been asked. */ asked?: boolean } = {}): void {
    if (asked) this.#asked = Math.max(1, this.#asked);
    this.#lost.resolve();
  }

  /** A seeder tells of the blob. */
  found(): void {
    this.#isAsking = false;
  }

  /** Resolves when asking is of no more use. @throws the signal's reason */
  async run(signal: AbortSignal): Promise<void> {
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    for (;;) {
      signal.throwIfAborted();
      await Promise.race([this.#lost.promise, aborted]);
      if (this.#asked > 0) await (this.#init.sleep ?? sleep)(this.#pauseMs(), signal);
      this.#asked++;
      this.#lost = Promise.withResolvers();
      this.#isAsking = true;
      this.#init.log.info("a seeder is lost: asking for another", { asked: this.#asked });
      try {
        await this.#init.ask(signal);
      } catch (error) {
        signal.throwIfAborted();
        this.#init.log.debug("no seeder takes the place of one that was lost", { error });
        if (!this.#init.mayPass(error)) return;
        this.lose();
      } finally {
        this.#isAsking = false;
      }
    }
  }

  #pauseMs(): number {
    const pauseMs = PAUSE_MS.second * 2 ** (this.#asked - 1);
    return Math.min(PAUSE_MS.longest, pauseMs) * (1 - JITTER * this.#random());
  }
}
