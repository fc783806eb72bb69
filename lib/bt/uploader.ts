/**
 * Serves pieces of one host's blobs where the uploader chooses: slots for the whole host, requests that wait in order
 * for a slot or for a piece, and the memory of what was served when. What is chosen is `next-piece.ts`'s business.
 * @module
 */
import type { Bitfield } from "./bitfield.ts";
import type { BlobChange, LiveBlob } from "./live-blob.ts";
import { RunningMedian } from "./median.ts";
import { chooseNext } from "./next-piece.ts";
import { ServedPieces } from "./served-pieces.ts";

/** A request waits at most this long, ms. */
export const PARK_MS = 10_000;
/** No repeat before so many median piece times. */
const REPEAT = 3;
/** Whatever askers say, a piece takes no longer than this, ms: a repeat must not come after the wait for it. */
const MAX_PACE_MS = 2500;
/** The no-repeat time before that is known, ms. */
const FIRST_REPEAT_MS = 1000;
/** The same asker does not get the same piece again before this, ms. */
const SAME_ASKER_MS = 2000;
/** Requests that may wait at once, for the whole host. */
const MAX_WAITING = 10_000;
/** After so many requests for which a blob has nothing now, others for that blob are not looked at this time. */
const MAX_MISSES = 64;

/** A piece to send. `done` must be called when it was sent or the asker left. */
export interface Upload {
  readonly piece: number;
  done(): void;
}

/** What somebody asks for. */
export interface NextQuery {
  /** What the asker has or asked others for. */
  readonly asked: Bitfield;
  /** A piece its reader waits for. */
  readonly want?: number | undefined;
  /** Median ms that a piece takes the asker, as it says; see `Uploader`. */
  readonly paceMs?: number | undefined;
  /** Who asks: pieces sent to it while a request of its own waited are not sent again for that request. */
  readonly asker?: string | undefined;
  readonly signal: AbortSignal;
}

interface Waiter {
  readonly blob: LiveBlob;
  readonly query: NextQuery;
  /** Monotonic ms. */
  readonly since: number;
  resolve(upload: Upload | undefined): void;
  reject(reason: unknown): void;
}

/**
 * See the module.
 *
 * How long a piece takes is what askers say, the median of many: here it is only known when the system has taken the
 * bytes, which on a slow line is long before they arrive. Of askers that do not say it is that.
 */
export class Uploader {
  readonly #slots: number;
  readonly #now: () => number;
  readonly #served = new WeakMap<LiveBlob, ServedPieces>();
  readonly #median = new RunningMedian();
  /** In the order they came. */
  readonly #waiting = new Set<Waiter>();
  #busy = 0;
  #looking = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  /** @param options.slots Pieces sent at once, over all blobs. */
  constructor({ slots = 2, now = () => performance.now() }: { slots?: number; now?: () => number } = {}) {
    this.#slots = slots;
    this.#now = now;
  }

  /**
   * The blob's layout must be known.
   * @returns The piece to send; undefined when there is none for this asker within 10 s.
   * @throws The signal's reason; the blob's error.
   */
  async next(blob: LiveBlob, query: NextQuery): Promise<Upload | undefined> {
    query.signal.throwIfAborted();
    if (this.#waiting.size >= MAX_WAITING) return undefined;
    const { promise, resolve, reject } = Promise.withResolvers<Upload | undefined>();
    const waiter: Waiter = { blob, query, since: this.#now(), resolve, reject };
    const onAbort = () => this.#leave(waiter, query.signal.reason);
    const unsubscribe = blob.subscribe((change) => this.#onChange(waiter, change));
    query.signal.addEventListener("abort", onAbort, { once: true });
    this.#waiting.add(waiter);
    this.#serve();
    try {
      return await promise;
    } finally {
      unsubscribe();
      query.signal.removeEventListener("abort", onAbort);
    }
  }

  /** Lets go of all who wait: there is nothing for them here any more. */
  close(): void {
    for (const waiter of this.#waiting) waiter.resolve(undefined);
    this.#waiting.clear();
    this.#wakeAt(Number.POSITIVE_INFINITY);
  }

  #onChange(waiter: Waiter, change: BlobChange): void {
    if (change.type === "failed") this.#leave(waiter, change.error);
    else if (change.type === "removed") this.#dismiss(waiter);
    else if (change.type === "piece" && this.#busy < this.#slots) this.#serveSoon();
  }

  /** There is nothing for it here any more. */
  #dismiss(waiter: Waiter): void {
    if (!this.#waiting.delete(waiter)) return;
    waiter.resolve(undefined);
    if (this.#waiting.size === 0) this.#wakeAt(Number.POSITIVE_INFINITY);
  }

  #leave(waiter: Waiter, reason: unknown): void {
    if (!this.#waiting.delete(waiter)) return;
    waiter.reject(reason);
    if (this.#waiting.size === 0) this.#wakeAt(Number.POSITIVE_INFINITY);
  }

  /** One look for all who wait for the same piece. */
  #serveSoon(): void {
    if (this.#looking) return;
    this.#looking = true;
    queueMicrotask(() => {
      this.#looking = false;
      this.#serve();
    });
  }

  /** Gives free slots to those who wait, the first first. */
  #serve(): void {
    const now = this.#now();
    const misses = new Map<LiveBlob, number>();
    let soonest = Number.POSITIVE_INFINITY;
    for (const waiter of this.#waiting) {
      const expires = waiter.since + PARK_MS;
      if (expires <= now) {
        this.#waiting.delete(waiter);
        waiter.resolve(undefined);
        continue;
      }
      soonest = Math.min(soonest, expires);
      if (this.#busy >= this.#slots) break;
      const missed = misses.get(waiter.blob) ?? 0;
      if (missed >= MAX_MISSES) continue;
      const choice = this.#choose(waiter, now);
      if (choice.kind === "later") {
        misses.set(waiter.blob, missed + 1);
        soonest = Math.min(soonest, choice.at ?? Number.POSITIVE_INFINITY);
        continue;
      }
      this.#waiting.delete(waiter);
      waiter.resolve(choice.kind === "piece" ? this.#begin(waiter, choice.piece, now) : undefined);
    }
    this.#wakeAt(soonest);
  }

  #choose({ blob, query, since }: Waiter, now: number): ReturnType<typeof chooseNext> {
    const served = this.#servedOf(blob);
    const median = this.#median.value;
    const repeatAfterMs = median === undefined ? FIRST_REPEAT_MS : REPEAT * median;
    let { asked } = query;
    // What the asker was sent a moment ago it may not have known when it asked.
    const lately = Math.min(since, now - Math.max(SAME_ASKER_MS, repeatAfterMs));
    const sent = query.asker === undefined ? [] : served.sentSince(query.asker, lately);
    if (sent.length > 0) {
      asked = asked.clone();
      for (const piece of sent) asked.add(piece);
    }
    return chooseNext({
      have: blob.have!,
      asked,
      served: served.times,
      servedAt: served.at,
      repeatAfterMs,
      now,
      want: query.want,
    });
  }

  #begin({ blob, query }: Waiter, piece: number, startedAt: number): Upload {
    this.#servedOf(blob).note(piece, startedAt, query.asker);
    if (query.paceMs !== undefined) this.#median.add(Math.min(query.paceMs, MAX_PACE_MS));
    this.#busy += 1;
    let sent = false;
    const done = () => {
      if (sent) return;
      sent = true;
      if (query.paceMs === undefined) this.#median.add(this.#now() - startedAt);
      this.#busy -= 1;
      this.#serve();
    };
    return { piece, done };
  }

  /** Looks again when a wait ends or a piece may be repeated. */
  #wakeAt(at: number): void {
    if (this.#timer !== undefined && this.#timerAt <= at && this.#waiting.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#waiting.size === 0 || !Number.isFinite(at)) return;
    this.#timerAt = at;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#serve();
      },
      Math.max(1, Math.ceil(at - this.#now())),
    );
  }

  #servedOf(blob: LiveBlob): ServedPieces {
    let served = this.#served.get(blob);
    if (!served) {
      served = new ServedPieces(blob.layout!.count);
      this.#served.set(blob, served);
    }
    return served;
  }
}
