/**
 * @module
 * One life of a blob in the cache: from the first caller, or from the listing at start, until it is gone and closed.
 */

import type { Cacheable, Timer } from "./cacheable.ts";

/** Where a blob is in its life. */
export type EntryState =
  /** `fetch` was called and has not answered yet. */
  | "starting"
  /** `fetch` gave a blob; its bytes arrive. */
  | "arriving"
  /** On the disk and counted. */
  | "committed"
  /** Failed, evicted or removed; handles given out go on until released. */
  | "gone";

/** Bookkeeping of one life; only the cache touches it. */
export class Entry<B extends Cacheable> {
  readonly id: string;
  state: EntryState;
  /** Bytes, once committed. */
  size = 0;
  /** Handles given out and callers that wait for one. */
  pins = 0;
  /** Those of the pins that keep a fetch going: `acquire`, not `peek`. */
  callers = 0;
  /** The open blob. */
  blob: B | undefined;
  /** `blob` came from `open`, so it is cheap to keep open. */
  reopened = false;
  /** A `fetch` or `open` under way. */
  opening: Promise<B> | undefined;
  /** Its fetch, until that has ended: a cache may hold a million entries, and nearly none of them is in flight. */
  flight: Flight | undefined;
  /** When it was used last: monotonic ms, below zero when that was before this process began. */
  usedAt = 0;

  constructor(id: string, state: EntryState) {
    this.id = id;
    this.state = state;
  }

  get inFlight(): boolean {
    return this.state === "starting" || this.state === "arriving";
  }
}

/** A fetch under way. */
export class Flight {
  /** Runs while it has no caller. */
  grace: Timer | undefined;
  /** Told to stop; a new caller waits for its end instead of joining. */
  abandoned = false;
  /** Aborts `fetch` while it has not given a blob. */
  readonly abort = new AbortController();
  /** Resolves when it has ended, well or not. */
  readonly settled: Promise<void>;
  readonly settle: () => void;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.settled = promise;
    this.settle = resolve;
  }
}
