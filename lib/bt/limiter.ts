/**
 * A host-wide limit on bytes a second: a token bucket whose waiters are served in order.
 * @module
 */

/** A wait is looked at again after so many ms at the latest. */
const MAX_SLEEP_MS = 60_000;

interface Waiter {
  readonly bytes: number;
  resolve(): void;
}

/** See the module. A rate of 0 is no limit. */
export class RateLimiter {
  readonly #rate: number;
  readonly #burst: number;
  readonly #now: () => number;
  #tokens: number;
  #filledAt: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #waiters: Waiter[] = [];

  /**
   * @param bytesPerSecond 0 for no limit.
   * @param options.burst Bytes that may go at once after a pause; default a tenth of a second's.
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

  /** Resolves when `bytes` may go; larger amounts than the burst run up a debt that later callers wait off. */
  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    if (this.#rate <= 0 || bytes <= 0) return;
    signal?.throwIfAborted();
    this.#refill();
    if (this.#waiters.length === 0 && this.#tokens > 0) {
      this.#tokens -= bytes;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { bytes, resolve };
    const onAbort = () => {
      const index = this.#waiters.indexOf(waiter);
      if (index >= 0) this.#waiters.splice(index, 1);
      if (this.#waiters.length === 0) {
        clearTimeout(this.#timer);
        this.#timer = undefined;
      }
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#waiters.push(waiter);
    this.#wake();
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
  }

  #refill(): void {
    const now = this.#now();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#filledAt) / 1000) * this.#rate);
    this.#filledAt = now;
  }

  #wake(): void {
    if (this.#timer !== undefined || this.#waiters.length === 0) return;
    // Timers of more than 2^31 ms would fire at once.
    const ms = Math.min(MAX_SLEEP_MS, Math.max(1, Math.ceil(((1 - this.#tokens) / this.#rate) * 1000)));
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#refill();
      while (this.#tokens > 0 && this.#waiters.length > 0) {
        const waiter = this.#waiters.shift()!;
        this.#tokens -= waiter.bytes;
        waiter.resolve();
      }
      this.#wake();
    }, ms);
  }
}
