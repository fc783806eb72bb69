/**
 * Serves pieces of one host's blobs where the uploader chooses: slots for the whole host, requests that wait in order
 * for a slot or for a piece, and the memory of what was served when. What is chosen is `next-piece.ts`'s business.
 * @module
 */
import { LRUCache } from "lru-cache";
import type { Bitfield } from "./bitfield.ts";
import type { BlobChange, LiveBlob } from "./live-blob.ts";
import { RunningMedian } from "./median.ts";
import { chooseNext } from "./next-piece.ts";
import { ServedPieces } from "./served-pieces.ts";

/** A request waits at most this long, ms. */
export const PARK_MS = 10_000;
/** A piece on its way keeps its slot no longer than so many median piece times. */
const HOLD = 2;
/** Nor, before that is known, longer than this, ms. */
const FIRST_HOLD_MS = 500;
/** One that the system does not take, since nobody reads it, keeps its slot for so long, ms, or so many median times. */
const UNSENT = { leastMs: 5000, medians: 8 };
/** Connections of which it is known what is on its way to them. */
const MAX_ON_THE_WAY = 4096;
/** Blobs of which it is known what was served. */
const MAX_BLOBS = 64;
/** The same asker does not get the same piece again before this, ms. */
const SAME_ASKER_MS = 2000;
/** Requests that may wait at once, for the whole host. */
const MAX_WAITING = 10_000;
/** After so many requests for which a blob has nothing now, others for that blob are looked at the next time. */
const MAX_MISSES = 64;

/** A piece to send. `done` must be called when the system took it whole, or the asker left. */
export interface Upload {
  readonly piece: number;
  done(end: "sent" | "left"): void;
}

/** What somebody asks for. */
export interface NextQuery {
  /** What the asker has or asked others for. */
  readonly asked: Bitfield;
  /** A piece its reader waits for. */
  readonly want?: number | undefined;
  /** What the request came by, where that asks for one thing after the other; see `Uploader`. */
  readonly connection?: string | undefined;
  /** Which download of which host asks: pieces sent to it while a request of its own waited are not sent again for that request. */
  readonly asker?: string | undefined;
  readonly signal: AbortSignal;
}

interface Waiter {
  readonly blob: LiveBlob;
  readonly query: NextQuery;
  /** Monotonic ms. */
  readonly since: number;
  /** There was nothing for it when it could have had a slot. */
  putOff: boolean;
  resolve(upload: Upload | undefined): void;
  reject(reason: unknown): void;
}

/** A piece that the system took from us for a connection. */
interface OnTheWay {
  readonly blob: LiveBlob;
  readonly startedAt: number;
  /** Gives its slot back, once. */
  free(): void;
}

/**
 * See the module.
 *
 * The system takes a piece in no time and its buffers hide the line, so that a piece has arrived is known when its
 * connection asks again. Until then it keeps its slot, within bounds, and so long it took.
 */
export class Uploader {
  readonly #slots: number;
  readonly #now: () => number;
  /** By blob's id: a blob that is whole is another object than the one that arrived. */
  readonly #served = new LRUCache<string, ServedPieces>({ max: MAX_BLOBS });
  readonly #median = new RunningMedian();
  /** In the order they came. */
  readonly #waiting = new Set<Waiter>();
  /** By connection. */
  readonly #onTheWay = new Map<string, OnTheWay>();
  #busy = 0;
  #looking = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  /** @param options.slots Pieces sent at once, over all blobs. */
  constructor({ slots = 16, now = () => performance.now() }: { slots?: number; now?: () => number } = {}) {
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
    this.#arrived(blob, query.connection);
    if (this.#waiting.size >= MAX_WAITING) return undefined;
    const { promise, resolve, reject } = Promise.withResolvers<Upload | undefined>();
    const waiter: Waiter = { blob, query, since: this.#now(), putOff: false, resolve, reject };
    const onAbort = () => this.#leave(waiter, query.signal.reason);
    const unsubscribe = blob.subscribe((change) => this.#onChange(waiter, change));
    query.signal.addEventListener("abort", onAbort, { once: true });
    this.#waiting.add(waiter);
    if (query.asker !== undefined) this.#servedOf(blob).heard(query.asker, query.asked, waiter.since);
    this.#serve();
    // It may lack what the many before it have.
    if (this.#waiting.has(waiter) && this.#busy < this.#slots) this.#wakeAt(this.#look(waiter, waiter.since));
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
    for (const { free } of this.#onTheWay.values()) free();
    this.#onTheWay.clear();
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
    const missed = new Map<LiveBlob, Waiter[]>();
    let soonest = Number.POSITIVE_INFINITY;
    for (const waiter of this.#waiting) {
      const expires = waiter.since + PARK_MS;
      if (expires <= now) {
        this.#waiting.delete(waiter);
        waiter.resolve(undefined);
        continue;
      }
      soonest = Math.min(soonest, expires);
      let misses = missed.get(waiter.blob);
      if (this.#busy >= this.#slots || (misses?.length ?? 0) >= MAX_MISSES) continue;
      soonest = Math.min(soonest, this.#look(waiter, now));
      if (!this.#waiting.has(waiter)) continue;
      if (!misses) {
        misses = [];
        missed.set(waiter.blob, misses);
      }
      misses.push(waiter);
    }
    for (const misses of missed.values()) {
      if (misses.length < MAX_MISSES) continue;
      // Behind the others, so that these are looked at as well.
      for (const waiter of misses) this.#waiting.delete(waiter);
      for (const waiter of misses) this.#waiting.add(waiter);
    }
    this.#wakeAt(soonest);
  }

  /**
   * Gives a request what there is for it; there must be a slot.
   * @returns When to look again, monotonic ms; for ever when it waits no more.
   */
  #look(waiter: Waiter, now: number): number {
    const choice = this.#choose(waiter, now);
    if (choice.kind === "later") {
      waiter.putOff = true;
      return Math.min(waiter.since + PARK_MS, choice.at ?? Number.POSITIVE_INFINITY);
    }
    this.#waiting.delete(waiter);
    waiter.resolve(
      choice.kind === "piece" && !this.#isStale(waiter, choice.piece)
        ? this.#begin(waiter, choice.piece, now)
        : undefined,
    );
    return Number.POSITIVE_INFINITY;
  }

  #choose({ blob, query, since }: Waiter, now: number): ReturnType<typeof chooseNext> {
    const served = this.#servedOf(blob);
    const repeatAfterMs = served.repeatAfterMs(this.#median.value);
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
      lostAfterMs: served.lostAfterMs(this.#median.value),
      mayBeLost: (piece) => served.mayBeLost(piece),
      now,
      want: query.want,
    });
  }

  /** A repeat goes to who lacks the piece now: a host that waited for it may have found it elsewhere, and asks again. */
  #isStale({ blob, query, putOff }: Waiter, piece: number): boolean {
    return putOff && query.asker !== undefined && this.#servedOf(blob).times[piece]! > 0;
  }

  #begin({ blob, query }: Waiter, piece: number, startedAt: number): Upload {
    const served = this.#servedOf(blob);
    served.note(piece, startedAt, query.asker);
    this.#busy += 1;
    let ended = false;
    let freed = false;
    const free = () => {
      if (freed) return;
      freed = true;
      clearTimeout(timer);
      this.#busy -= 1;
      this.#serve();
    };
    let timer = setTimeout(free, Math.max(UNSENT.leastMs, UNSENT.medians * (this.#median.value ?? 0)));
    const done = (end: "sent" | "left") => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      const { connection } = query;
      if (end === "left") served.lost(piece, query.asker);
      if (end === "sent" && connection === undefined) this.#median.add(this.#now() - startedAt);
      // Who lacks nothing more will not ask again.
      if (end === "left" || connection === undefined || query.asked.count + 1 >= query.asked.length) return free();
      const holdMs =
        (this.#median.value === undefined ? FIRST_HOLD_MS : HOLD * this.#median.value) - (this.#now() - startedAt);
      this.#sent(connection, { blob, startedAt, free });
      if (holdMs <= 0) free();
      else timer = setTimeout(free, holdMs);
    };
    return { piece, done };
  }

  #sent(connection: string, entry: OnTheWay): void {
    this.#onTheWay.get(connection)?.free();
    this.#onTheWay.delete(connection);
    this.#onTheWay.set(connection, entry);
    for (const [oldest, { free }] of this.#onTheWay) {
      if (this.#onTheWay.size <= MAX_ON_THE_WAY) break;
      this.#onTheWay.delete(oldest);
      free();
    }
  }

  /** A connection asks for more: it has all that was sent before. */
  #arrived(blob: LiveBlob, connection: string | undefined): void {
    const entry = connection === undefined ? undefined : this.#onTheWay.get(connection);
    if (!entry) return;
    this.#onTheWay.delete(connection!);
    if (entry.blob === blob) this.#median.add(this.#now() - entry.startedAt);
    entry.free();
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
    const { count } = blob.layout!;
    let served = this.#served.get(blob.id);
    if (served?.times.length !== count) {
      served = new ServedPieces(count);
      this.#served.set(blob.id, served);
    }
    return served;
  }
}
