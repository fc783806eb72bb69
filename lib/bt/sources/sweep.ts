/**
 * A timer for many: it runs while there is something to look after, where one timer each would cost every request.
 * @module
 */

/** See the module. It keeps no process alive, and nothing is left of it once there is nothing to look after. */
export class Sweep {
  readonly #look: () => boolean;
  #timer: ReturnType<typeof setInterval> | undefined;
  #everyMs = Number.POSITIVE_INFINITY;

  /** @param look Is called each time; tells whether there is still something to look after. */
  constructor(look: () => boolean) {
    this.#look = look;
  }

  /** There is something to look after, at least so often, ms. */
  run(everyMs: number): void {
    if (everyMs >= this.#everyMs) return;
    this.stop();
    this.#everyMs = everyMs;
    this.#timer = setInterval(() => {
      if (!this.#look()) this.stop();
    }, everyMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#everyMs = Number.POSITIVE_INFINITY;
  }
}
