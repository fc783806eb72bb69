/**
 * Makes a lost seeder good: the seeders are asked again, since another one has the blob too, or can read it, and the same
 * one does once it is back.
 * @module
 */
import { abortable } from "../cache/abortable.ts";
import type { Logger } from "../log/log.ts";
import { sleep } from "./sleep.ts";

/**
 * Before they are asked, ms: the first time just so long that a stream which broke with the seeder may find the next by
 * itself; the second time longer, then twice as long each time, up to the longest.
 */
const PAUSE_MS = { first: 100, second: 500, longest: 8000 };
/** Up to this share of a pause less, by chance: those who lost the same seeder do not all ask in one moment. */
const JITTER = 0.5;

/** What a search needs. */
export interface SeederSearchInit {
  /** Asks the seeders, and takes what one of them tells until it has told all. `found` is called as soon as it tells. */
  ask(signal: AbortSignal): Promise<void>;
  /** Whether a seeder would be of use now; looked at again while it would not. */
  isNeeded(): boolean;
  /** Whether asking that ended in this error may bring something later: else the search ends. */
  mayPass(error: unknown): boolean;
  readonly log: Pick<Logger, "info" | "debug">;
  /** Monotonic ms. @default performance.now */
  readonly now?: () => number;
  /** In [0, 1). */
  readonly random?: () => number;
  /** Waits so many ms, or rejects with the signal's reason. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** See the module. `run` it once. */
export class SeederSearch {
  readonly #init: SeederSearchInit;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  #isLost = false;
  /** Resolves once one is lost. */
  #loss = Promise.withResolvers<void>();
  #asked = 0;
  #askedAt = 0;
  /** Resolves when the question under way has its answer. */
  #answer: PromiseWithResolvers<void> | undefined;
  /** Nobody will ever answer otherwise. */
  #isOver = false;

  constructor(init: SeederSearchInit) {
    this.#init = init;
    this.#now = init.now ?? (() => performance.now());
    this.#random = init.random ?? Math.random;
    this.#sleep = init.sleep ?? sleep;
  }

  /** Whether an answer is awaited, the short time before the first question included. */
  get isAsking(): boolean {
    return this.#answer !== undefined || (this.#isLost && this.#asked === 0);
  }

  /** Since when an answer is awaited, or was the last time, monotonic ms; 0 before. */
  get askedAt(): number {
    return this.#askedAt;
  }

  /** A seeder does not answer, or its pieces come no more. @param how.soon it has just been asked in vain: not at once */
  lose({ soon = true }: { soon?: boolean } = {}): void {
    if (!soon) this.#asked = Math.max(1, this.#asked);
    if (!this.#isLost && this.#asked === 0) this.#askedAt = this.#now();
    this.#isLost = true;
    this.#loss.resolve();
  }

  /** A seeder tells of the blob. */
  found(): void {
    if (this.#isLost) this.#loss = Promise.withResolvers();
    this.#isLost = false;
    this.#end();
  }

  /** Resolves when asking is of no more use. @throws the signal's reason */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      await abortable(this.#loss.promise, signal);
      if (this.#isOver) return;
      await this.#sleep(this.#pauseMs(), signal);
      if (!this.#isLost) continue;
      if (!this.#init.isNeeded()) {
        await this.#sleep(PAUSE_MS.second, signal);
        continue;
      }
      await abortable(this.#ask(signal), signal);
    }
  }

  /** Resolves with the answer: what one of them tells further is heard beside the search. */
  #ask(signal: AbortSignal): Promise<void> {
    if (this.#asked > 0) this.#askedAt = this.#now();
    this.#asked++;
    this.#init.log.info("a seeder is lost: asking for another", { asked: this.#asked });
    const answer = Promise.withResolvers<void>();
    this.#answer = answer;
    const ended = (error?: unknown) => {
      if (error !== undefined && !signal.aborted) this.#failed(error);
      // It may be the end of one that was found, while the next is asked already.
      if (this.#answer === answer) this.#end();
    };
    this.#init.ask(signal).then(() => ended(), ended);
    return answer.promise;
  }

  #failed(error: unknown): void {
    this.#init.log.debug("no seeder takes the place of one that was lost", { error });
    if (!this.#init.mayPass(error)) this.#isOver = true;
    this.lose();
  }

  #end(): void {
    this.#answer?.resolve();
    this.#answer = undefined;
  }

  #pauseMs(): number {
    const grown = Math.min(PAUSE_MS.longest, PAUSE_MS.second * 2 ** (this.#asked - 1));
    return (this.#asked === 0 ? PAUSE_MS.first : grown) * (1 - JITTER * this.#random());
  }
}
