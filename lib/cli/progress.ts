/**
 * How far a download is: a bar that is redrawn on a terminal, a plain line once a second elsewhere.
 *
 * @module
 */
import { formatBytes, formatDuration } from "./quantities.ts";

/** What a line is drawn from. */
export interface ProgressState {
  /** What is moving; shown first. */
  readonly label: string;
  /** Bytes that have arrived. */
  readonly done: number;
  /** Bytes in all; undefined while unknown. */
  readonly total: number | undefined;
  /** Bytes per second of late. */
  readonly rate: number;
  /** Since the start, ms. */
  readonly elapsedMs: number;
  /** Bytes by where they came from; empty sources are left out. */
  readonly bySource: Readonly<Record<string, number>>;
}

/**
 * One line without line break, at most `width` columns (the bar shrinks first, then the end is cut).
 *
 * @example "layer [=====>    ]  52% 130 MiB of 250 MiB  21.0 MiB/s  ETA 5.7s  peer 120 MiB, seeder 10.0 MiB"
 */
export function renderProgress(state: ProgressState, { width, bar = true }: { width: number; bar?: boolean }): string {
  const { label, done, total, rate, bySource } = state;
  const share = total === undefined ? undefined : total === 0 ? 1 : Math.min(1, done / total);
  const parts: string[] = [];
  if (share !== undefined) parts.push(`${String(Math.floor(share * 100)).padStart(3)}%`);
  parts.push(total === undefined ? formatBytes(done) : `${formatBytes(done)} of ${formatBytes(total)}`);
  parts.push(` ${formatBytes(rate)}/s`);
  if (total !== undefined && done < total) parts.push(` ETA ${formatDuration(((total - done) / rate) * 1000)}`);
  if (total !== undefined && done >= total) parts.push(` in ${formatDuration(state.elapsedMs)}`);
  const sources = Object.entries(bySource).filter(([, bytes]) => bytes > 0);
  if (sources.length > 0)
    parts.push(` ${sources.map(([source, bytes]) => `${source} ${formatBytes(bytes)}`).join(", ")}`);
  const text = parts.join(" ");
  const room = Math.min(30, width - label.length - text.length - 4);
  const drawn = bar && share !== undefined && room >= 5 ? ` [${drawBar(share, room)}]` : "";
  return [...`${label}${drawn} ${text}`].slice(0, width).join("");
}

function drawBar(share: number, width: number): string {
  const full = Math.floor(share * width);
  return full >= width ? "=".repeat(width) : `${"=".repeat(full)}>`.padEnd(width);
}

/** Where a {@link Progress} writes: the part of a stream it needs. */
export interface ProgressOutput {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** What {@link Progress} may be told. */
export interface ProgressInit {
  readonly label: string;
  readonly total?: number | undefined;
  /** @default process.stderr */
  readonly output?: ProgressOutput;
  /** Monotonic clock, ms. @default performance.now */
  readonly now?: () => number;
  /** Least time between two lines, ms. @default 100 on a terminal, else 1000 */
  readonly intervalMs?: number;
}

/** The rate is taken over so long, ms. */
const rateWindowMs = 5000;

/** Most samples kept for the rate. */
const maxSamples = 64;

/** Draws while it is updated; it has no timer of its own. Close it with {@link finish} or `using`. */
export class Progress implements Disposable {
  readonly #init: ProgressInit;
  readonly #output: ProgressOutput;
  readonly #now: () => number;
  readonly #intervalMs: number;
  readonly #start: number;
  readonly #samples: { at: number; done: number }[] = [];
  #bySource: Readonly<Record<string, number>> = {};
  #done = 0;
  #total: number | undefined;
  #drawn = Number.NEGATIVE_INFINITY;
  #finished = false;
  #lastLine = "";

  constructor(init: ProgressInit) {
    this.#init = init;
    this.#output = init.output ?? process.stderr;
    this.#now = init.now ?? (() => performance.now());
    this.#intervalMs = init.intervalMs ?? (this.#output.isTTY ? 100 : 1000);
    this.#total = init.total;
    this.#start = this.#now();
    this.#samples.push({ at: this.#start, done: 0 });
  }

  /** Tells the bytes that have arrived so far, and draws unless a line was drawn a moment ago. */
  update({
    done,
    total,
    bySource,
  }: {
    done: number;
    total?: number;
    bySource?: Readonly<Record<string, number>>;
  }): void {
    if (this.#finished) return;
    this.#done = done;
    this.#total = total ?? this.#total;
    this.#bySource = bySource ?? this.#bySource;
    const at = this.#now();
    if (at - this.#drawn < this.#intervalMs) return;
    this.#drawn = at;
    this.#samples.push({ at, done });
    while (this.#samples.length > maxSamples || at - this.#samples[0]!.at > rateWindowMs) {
      // Two samples at least: a rate needs a before and a now.
      if (this.#samples.length <= 2) break;
      this.#samples.shift();
    }
    const { at: since, done: before } = this.#samples[0]!;
    this.#draw(at > since ? ((done - before) * 1000) / (at - since) : 0, at);
  }

  /** Draws the last line, with the rate of the whole, and ends it. Idempotent. */
  finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    const at = this.#now();
    const elapsed = at - this.#start;
    this.#draw(elapsed > 0 ? (this.#done * 1000) / elapsed : 0, at);
    if (this.#output.isTTY) this.#output.write("\n");
  }

  [Symbol.dispose](): void {
    this.finish();
  }

  #draw(rate: number, at: number): void {
    const state: ProgressState = {
      label: this.#init.label,
      done: this.#done,
      total: this.#total,
      rate: Math.max(0, rate),
      elapsedMs: at - this.#start,
      bySource: this.#bySource,
    };
    if (this.#output.isTTY) {
      // One column stays free: a full line would make some terminals wrap.
      const width = Math.max(20, (this.#output.columns ?? 80) - 1);
      this.#output.write(`\r${renderProgress(state, { width })}\u001b[K`);
      return;
    }
    const line = renderProgress(state, { width: 1000, bar: false });
    if (line === this.#lastLine) return;
    this.#lastLine = line;
    this.#output.write(`${line}\n`);
  }
}
