/**
 * A timer for many: it runs while there is something to look after, where one timer each would cost every request.
 * @module
 */

/** See the module. It keeps no process alive, and nothing is left of it once there is nothing to look after. */
export class Sweep {
  readonly #look: () => number | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #everyMs = Number.POSITIVE_INFINITY;

  /** @param look Is called each time; tells how often it is needed from now on, ms: undefined for no more. */
  constructor(look: () => number | undefined) {
    this.#look = look;
  }

  /** There is something to look after, at least so often, ms. */
  run(everyMs: number): void {
    if (everyMs < this.#everyMs) this.#start(everyMs);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#everyMs = Number.POSITIVE_INFINITY;
  }

  #start(everyMs: number): void {
    this.stop();
    this.#everyMs = everyMs;
    this.#timer = setInterval(() => this.#onTimer(), everyMs);
    this.#timer.unref();
  }

  #onTimer(): void {
    const everyMs = this.#look();
    if (everyMs === undefined) this.stop();
    else if (everyMs !== this.#everyMs) this.#start(everyMs);
  }
}
