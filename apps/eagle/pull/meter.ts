/**
 * A progress line for work that goes on by itself.
 * @module
 */
import { Progress, type ProgressOutput } from "../../../lib/cli/progress.ts";

const INTERVAL_MS = 100;

/** What a meter shows. */
export interface MeterInit {
  readonly label: string;
  /** Bytes by where they came from, so far. */
  readonly bySource: () => Promise<Readonly<Record<string, number>>>;
  /** @default process.stderr */
  readonly output?: ProgressOutput;
}

/** Draws a few times a second until it is closed; the last line shows the whole. */
export class Meter implements AsyncDisposable {
  readonly #init: MeterInit;
  #progress: Progress | undefined;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #startedAt = performance.now();
  #done = 0;
  #total: number | undefined;
  #elapsedMs: number | undefined;

  constructor(init: MeterInit) {
    this.#init = init;
    this.#timer = setInterval(() => void this.#draw(), INTERVAL_MS);
  }

  /** Since it was made, until it was closed, ms. */
  get elapsedMs(): number {
    return this.#elapsedMs ?? performance.now() - this.#startedAt;
  }

  /** Says how many bytes will come. */
  expect(bytes: number): void {
    this.#total = bytes;
    this.#begin();
  }

  /** Bytes came. */
  add(bytes: number): void {
    this.#done += bytes;
    this.#begin();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#elapsedMs !== undefined) return;
    this.#elapsedMs = this.elapsedMs;
    clearInterval(this.#timer);
    await this.#draw();
    this.#progress?.finish();
  }

  /** What fails before anything is known has nothing to show. */
  #begin(): void {
    const { label, output } = this.#init;
    this.#progress ??= new Progress({ label, ...(output ? { output } : {}) });
  }

  async #draw(): Promise<void> {
    const bySource = await this.#init.bySource().catch(() => ({}));
    this.#progress?.update({
      done: this.#done,
      ...(this.#total === undefined ? {} : { total: this.#total }),
      bySource,
    });
  }
}
