/**
 * Who goes first where both want the same line: hosts of Eagle, which are asked to pass on each piece they get, before
 * ordinary BitTorrent clients and readers of the web seed, which ask for all they can get. While hosts of Eagle are served
 * strangers get a share beside them; else all there is.
 * @module
 */

/** Bytes for strangers for each byte that a host of Eagle is sent. */
const SHARE = 0.25;
/** What strangers may have saved up, bytes. */
const MAX_CREDIT = 2 * 1024 * 1024;
/**
 * Hosts of Eagle count as being served until so long after the system took their latest piece, ms: it is still on its
 * way, and they are about to ask for more.
 */
const RECENT_MS = 1000;
const LOOK_MS = 20;
/** So often one stranger has its turn in any case, ms: they are slowed down, not cut off. */
const TRICKLE_MS = 1000;

interface Waiter {
  readonly bytes: number;
  resolve(): void;
}

/** See the module. */
export class Precedence {
  readonly #now: () => number;
  readonly #waiting = new Set<Waiter>();
  /** Pieces on their way to hosts of Eagle. */
  #active = 0;
  #ownAt = Number.NEGATIVE_INFINITY;
  #turnAt = Number.NEGATIVE_INFINITY;
  #credit = MAX_CREDIT;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param options.now Monotonic clock, ms. */
  constructor({ now = () => performance.now() }: { now?: () => number } = {}) {
    this.#now = now;
  }

  /** A host of Eagle is sent a piece. @returns To be called when it was sent; further calls do nothing. */
  own(bytes: number): () => void {
    this.#active += 1;
    this.#credit = Math.min(MAX_CREDIT, this.#credit + bytes * SHARE);
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.#active -= 1;
      this.#ownAt = this.#now();
    };
  }

  /** Resolves when a stranger may be sent so many bytes. @throws The signal's reason. */
  async turn(bytes: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.#waiting.size === 0 && this.#take(bytes)) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { bytes, resolve };
    const onAbort = () => {
      this.#waiting.delete(waiter);
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#waiting.add(waiter);
    this.#lookLater();
    try {
      await promise;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #take(bytes: number): boolean {
    const now = this.#now();
    if (this.#active === 0 && now - this.#ownAt > RECENT_MS) return true;
    if (this.#credit <= 0 && now - this.#turnAt < TRICKLE_MS) return false;
    this.#credit -= bytes;
    this.#turnAt = now;
    return true;
  }

  #look(): void {
    for (const waiter of this.#waiting) {
      if (!this.#take(waiter.bytes)) break;
      this.#waiting.delete(waiter);
      waiter.resolve();
    }
    this.#lookLater();
  }

  #lookLater(): void {
    if (this.#timer !== undefined || this.#waiting.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#look();
    }, LOOK_MS);
  }
}
