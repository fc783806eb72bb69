/**
 * Serves pieces of one host's blobs where the uploader chooses: slots for the whole host, parking while more is
 * coming, and the memory of what was served when. What is chosen is `next-piece.ts`'s business.
 * @module
 */
import type { Bitfield } from "./bitfield.ts";
import type { LiveBlob } from "./live-blob.ts";
import { RunningMedian } from "./median.ts";
import { chooseNext } from "./next-piece.ts";

/** A request parks at most this long, ms. */
const PARK_MS = 10_000;
/** No repeat before so many median piece times. */
const REPEAT = 3;
/** The no-repeat time before any piece was sent, ms. */
const FIRST_REPEAT_MS = 1000;
/** Requests that may wait at once, for the whole host. */
const MAX_WAITING = 4096;

/** What was served of a blob. */
class Served {
  readonly times: Uint32Array;
  readonly at: Float64Array;

  constructor(count: number) {
    this.times = new Uint32Array(count);
    this.at = new Float64Array(count);
  }
}

/** A piece to send. `done` must be called when it was sent or the asker left. */
export interface Upload {
  readonly piece: number;
  done(): void;
}

/** See the module. */
export class Uploader {
  readonly #slots: number;
  readonly #now: () => number;
  readonly #served = new WeakMap<LiveBlob, Served>();
  readonly #median = new RunningMedian();
  readonly #queue: (() => void)[] = [];
  #busy = 0;
  #waiting = 0;

  /** @param options.slots Pieces sent at once, over all blobs. */
  constructor({ slots = 2, now = () => performance.now() }: { slots?: number; now?: () => number } = {}) {
    this.#slots = slots;
    this.#now = now;
  }

  /**
   * @param asked What the asker has or asked others for.
   * @returns The piece to send; undefined when there is none for this asker within 10 s.
   * @throws The signal's reason; the blob's error.
   */
  async next(blob: LiveBlob, { asked, want, signal }: { asked: Bitfield; want?: number | undefined; signal: AbortSignal }): Promise<Upload | undefined> {
    if (this.#waiting >= MAX_WAITING) return undefined;
    const deadline = this.#now() + PARK_MS;
    this.#waiting += 1;
    try {
      for (;;) {
        const wait = await this.#withSlot(signal, () => this.#choose(blob, asked, want));
        if (wait.kind === "piece") return wait.upload;
        const left = Math.min(deadline, wait.at ?? deadline) - this.#now();
        if (wait.kind === "nothing" || deadline - this.#now() <= 0) return undefined;
        await this.#park(blob, Math.max(1, left), signal);
      }
    } finally {
      this.#waiting -= 1;
    }
  }

  #choose(blob: LiveBlob, asked: Bitfield, want: number | undefined): { kind: "piece"; upload: Upload } | { kind: "later" | "nothing"; at?: number | undefined } {
    const served = this.#servedOf(blob);
    const now = this.#now();
    const median = this.#median.value;
    const repeatAfterMs = median === undefined ? FIRST_REPEAT_MS : REPEAT * median;
    const choice = chooseNext({ have: blob.have!, asked, served: served.times, servedAt: served.at, repeatAfterMs, now, want });
    if (choice.kind !== "piece") return choice;
    served.times[choice.piece]! += 1;
    served.at[choice.piece] = now;
    let sent = false;
    const done = () => {
      if (sent) return;
      sent = true;
      this.#median.add(this.#now() - now);
      this.#release();
    };
    return { kind: "piece", upload: { piece: choice.piece, done } };
  }

  /** Runs `choose` while holding a slot; a piece keeps the slot until it is done. */
  async #withSlot<T extends { kind: string }>(signal: AbortSignal, choose: () => T): Promise<T> {
    signal.throwIfAborted();
    if (this.#busy >= this.#slots) await this.#queueUp(signal);
    else this.#busy += 1;
    let choice: T | undefined;
    try {
      choice = choose();
      return choice;
    } finally {
      if (choice?.kind !== "piece") this.#release();
    }
  }

  async #queueUp(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = () => {
      const index = this.#queue.indexOf(resolve);
      if (index < 0) return;
      this.#queue.splice(index, 1);
      reject(signal.reason);
    };
    this.#queue.push(resolve);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Hands the slot to the next in the queue. */
  #release(): void {
    const next = this.#queue.shift();
    if (next) next();
    else this.#busy -= 1;
  }

  async #park(blob: LiveBlob, ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    const unsubscribe = blob.subscribe((change) => {
      if (change.type === "piece") resolve();
      else if (change.type === "failed") reject(change.error);
    });
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      unsubscribe();
      signal.removeEventListener("abort", onAbort);
    }
  }

  #servedOf(blob: LiveBlob): Served {
    let served = this.#served.get(blob);
    if (!served) {
      served = new Served(blob.layout!.count);
      this.#served.set(blob, served);
    }
    return served;
  }
}
