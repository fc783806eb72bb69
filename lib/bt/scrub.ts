/**
 * Reads stored blobs again, slowly and for ever, to find what the disk has damaged before a client does.
 * @module
 */
import type { Logger } from "../log/log.ts";
import { RateLimiter } from "./limiter.ts";
import { sleep } from "./sleep.ts";

/** The first look after a start comes so late: whoever starts has more urgent things to do, ms. */
const DELAY_MS = 60_000;
/** No round begins sooner after the beginning of the last one: a small cache need not be read all day, ms. */
const ROUND_MS = 24 * 3600 * 1000;
/** Looks whether blobs still arrive, ms; and goes on all the same after waiting for so many looks at a stretch. */
const BUSY_MS = 1000;
const MAX_WAITS = 600;

export interface ScrubInit {
  /** Bytes a second. */
  readonly rate: number;
  /** Blobs to look at; those that have gone meanwhile are skipped by `verify`. */
  ids(): Iterable<string>;
  /**
   * Verifies one blob and does what has to be done with a damaged one. Never rejects but for its signal.
   * @param turn awaited before so many bytes are read.
   */
  verify(id: string, turn: (bytes: number) => Promise<void>, signal: AbortSignal): Promise<void>;
  /** Blobs arrive now: they come first. */
  isBusy(): boolean;
  readonly log: Pick<Logger, "info" | "debug" | "warn">;
  readonly delayMs?: number;
  readonly roundMs?: number;
  /** Where a round begins: after a restart not where the last one began, or some blobs might never have their turn. */
  readonly random?: () => number;
}

/** See the module. Works from `start` to `close`. */
export class Scrub {
  readonly #init: ScrubInit;
  readonly #stop = new AbortController();
  readonly #limiter: RateLimiter;
  #running: Promise<void> | undefined;

  constructor(init: ScrubInit) {
    this.#init = init;
    this.#limiter = new RateLimiter(init.rate);
  }

  start(): void {
    if (this.#init.rate <= 0) return;
    this.#running ??= this.#run().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) this.#init.log.warn("stored blobs are not checked any more", { error });
    });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { ids, verify, log, delayMs = DELAY_MS, roundMs = ROUND_MS, random = Math.random } = this.#init;
    const { signal } = this.#stop;
    await sleep(delayMs, signal);
    for (;;) {
      const began = performance.now();
      const round = [...ids()];
      const first = Math.floor(random() * round.length);
      for (let index = 0; index < round.length; index++) {
        const id = round[(first + index) % round.length]!;
        await verify(id, (bytes) => this.#turn(bytes), signal);
        signal.throwIfAborted();
      }
      log.debug("all stored blobs were read again", { blobs: round.length, ms: Math.round(performance.now() - began) });
      // Timers of more than 2^31 ms would fire at once; a round of no blobs must not follow the last at once either.
      const pause = Math.min(2 ** 31 - 1, Math.max(1000, roundMs - (performance.now() - began)));
      await sleep(pause, signal);
    }
  }

  async #turn(bytes: number): Promise<void> {
    const { signal } = this.#stop;
    for (let waits = 0; this.#init.isBusy() && waits < MAX_WAITS; waits++) await sleep(BUSY_MS, signal);
    await this.#limiter.take(bytes, { signal });
    signal.throwIfAborted();
  }
}
