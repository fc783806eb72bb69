/**
 * A host-wide limit on bytes a second: a token bucket that is fair between blobs.
 *
 * Who asks waits until the bucket holds all of what was asked for. A debt instead would let one piece of 4 MiB go at once
 * and everybody after it wait it off, and whoever asks for 64 KiB at a time would get so much for each such piece. So a
 * small request that comes while tokens gather for a large one takes of them and goes.
 *
 * Whose turn it is goes by bytes (self-clocked fair queueing, Golestani 1994): a request finishes, in virtual time, its
 * bytes after the one before it of the same key, or after what was let go last where its key had none waiting; the one
 * that finishes first goes. That is as fair as deficit round robin and needs no memory of keys that wait for nothing.
 * @module
 */

/**
 * Of what keys with a client waiting and the others want together, the former get this share at least, or what their
 * number gives them, where that is more; the others get the rest.
 */
export const RESERVE = 0.75;
/** A wait is looked at again after so many ms at the latest: a client may have begun to wait for it. */
const MAX_SLEEP_MS = 250;

/** Whose bytes are asked for. */
export interface Turn {
  /** Keys share alike, whatever each of them asks for at once: the id of a blob. @default "" */
  readonly key?: string;
  /** Whether a client waits for them; looked at again while they wait. All requests of a key say the same. @default no */
  urgent?(): boolean;
  readonly signal?: AbortSignal | undefined;
}

interface Waiter extends Turn {
  readonly bytes: number;
  resolve(): void;
}

/** The requests of a key, the first first; there is at least one. */
interface Queue {
  readonly key: string;
  /** Virtual time at which its first request began, bytes. */
  start: number;
  readonly waiters: Waiter[];
}

/** The request that goes next. */
interface Next {
  readonly queue: Queue;
  readonly waiter: Waiter;
  /** Virtual time at which it finishes, bytes. */
  readonly finish: number;
}

/** See the module. A rate of 0 is no limit. */
export class RateLimiter {
  readonly #rate: number;
  readonly #burst: number;
  readonly #now: () => number;
  /** Bytes that may go now; less than none after a `charge`. */
  #tokens: number;
  #filledAt: number;
  /** Virtual time at which what went last finished, bytes; 0 while nobody waits. */
  #finished = 0;
  readonly #queues = new Map<string, Queue>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the timer ends, ms. */
  #wakeAt = 0;

  /**
   * @param bytesPerSecond 0 for no limit.
   * @param options.burst Bytes that may go at once after a pause; default a tenth of a second's.
   * @param options.now Monotonic clock, ms.
   */
  constructor(
    bytesPerSecond: number,
    { burst = bytesPerSecond / 10, now = () => performance.now() }: { burst?: number; now?: () => number } = {},
  ) {
    this.#rate = bytesPerSecond;
    this.#burst = burst;
    this.#now = now;
    this.#tokens = burst;
    this.#filledAt = now();
  }

  get limited(): boolean {
    return this.#rate > 0;
  }
  /** Keys that wait. */
  get waiting(): number {
    return this.#queues.size;
  }

  /**
   * Resolves when `bytes` may go.
   * @throws The signal's reason; nothing is taken then.
   */
  async take(bytes: number, turn: Turn = {}): Promise<void> {
    if (this.#rate <= 0 || bytes <= 0) return;
    const { key = "", signal } = turn;
    signal?.throwIfAborted();
    this.#refill();
    if (this.#queues.size === 0 && this.#tokens >= bytes) {
      this.#tokens -= bytes;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { ...turn, bytes, resolve };
    const onAbort = () => {
      this.#remove(key, waiter);
      this.#refill();
      this.#serve();
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    const queue = this.#queues.get(key);
    if (queue) queue.waiters.push(waiter);
    else this.#queues.set(key, { key, start: this.#finished, waiters: [waiter] });
    this.#serve();
    try {
      await promise;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Takes note of bytes that went without asking; a negative number gives back what was taken and not used. */
  charge(bytes: number): void {
    if (this.#rate <= 0) return;
    this.#refill();
    this.#tokens -= bytes;
    this.#serve();
  }

  /**
   * What gathers for the next request is kept beside the burst, so that a timer that comes late loses nothing; what was
   * given back stays.
   */
  #refill(): void {
    const now = this.#now();
    const most = this.#burst + (this.#next()?.waiter.bytes ?? 0);
    const earned = ((now - this.#filledAt) / 1000) * this.#rate;
    this.#tokens = Math.max(this.#tokens, Math.min(most, this.#tokens + earned));
    this.#filledAt = now;
  }

  /** Lets go whoever is paid for; looks again when the next one may be. */
  #serve(): void {
    for (let next = this.#next(); next; next = this.#next()) {
      const { queue, waiter, finish } = next;
      if (this.#tokens < waiter.bytes) {
        this.#wakeIn(((waiter.bytes - this.#tokens) / this.#rate) * 1000);
        return;
      }
      this.#tokens -= waiter.bytes;
      queue.start = finish;
      this.#finished = Math.max(this.#finished, finish);
      this.#remove(queue.key, waiter);
      waiter.resolve();
    }
    this.#finished = 0;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #next(): Next | undefined {
    const all: { queue: Queue; isUrgent: boolean }[] = [];
    let urgent = 0;
    for (const queue of this.#queues.values()) {
      const isUrgent = this.#queues.size > 1 && queue.waiters[0]!.urgent?.() === true;
      if (isUrgent) urgent += 1;
      all.push({ queue, isUrgent });
    }
    const weight = Math.max(1, (RESERVE / (1 - RESERVE)) * ((all.length - urgent) / urgent));
    let best: Next | undefined;
    for (const { queue, isUrgent } of all) {
      const waiter = queue.waiters[0]!;
      const finish = queue.start + waiter.bytes / (isUrgent ? weight : 1);
      if (!best || finish < best.finish) best = { queue, waiter, finish };
    }
    return best;
  }

  #remove(key: string, waiter: Waiter): void {
    const queue = this.#queues.get(key);
    const index = queue?.waiters.indexOf(waiter) ?? -1;
    if (index < 0) return;
    queue!.waiters.splice(index, 1);
    if (queue!.waiters.length === 0) this.#queues.delete(key);
  }

  #wakeIn(ms: number): void {
    const sleep = Math.min(MAX_SLEEP_MS, Math.max(1, Math.ceil(ms)));
    const at = this.#now() + sleep;
    if (this.#timer !== undefined && this.#wakeAt <= at) return;
    clearTimeout(this.#timer);
    this.#wakeAt = at;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#refill();
      this.#serve();
    }, sleep);
  }
}
