/**
 * One piece of work for all who want the same at the same time.
 * @module
 */

/** See the module. Work goes on when one who waits leaves, and is told when the last one has left. */
export class SingleFlight<T> {
  readonly #flights = new Map<string, { promise: Promise<T>; leave: AbortController; waiters: number }>();

  /**
   * @param work begun only where none with this key is under way
   * @throws what the work throws; the signal's reason
   */
  async join(key: string, work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    let flight = this.#flights.get(key);
    if (!flight) {
      const leave = new AbortController();
      const started = { promise: work(leave.signal), leave, waiters: 0 };
      flight = started;
      this.#flights.set(key, started);
      const landed = () => {
        if (this.#flights.get(key) === started) this.#flights.delete(key);
      };
      started.promise.then(landed, landed);
    }
    flight.waiters++;
    const left = Promise.withResolvers<never>();
    const onAbort = () => left.reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await Promise.race([flight.promise, left.promise]);
    } finally {
      signal.removeEventListener("abort", onAbort);
      if (--flight.waiters === 0) {
        // Whoever comes now must not join what is being given up.
        if (this.#flights.get(key) === flight) this.#flights.delete(key);
        flight.leave.abort(signal.reason);
      }
    }
  }
}
