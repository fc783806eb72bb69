/** @module One tracker's side of the heartbeat: what it was told, what is still to be told, and when. */
import type { Logger } from "../log/log.ts";
import { TrackerError } from "./errors.ts";
import { exchange, type TrackerHttp } from "./exchange.ts";
import { type HoldingsMessage, MAX_DIGESTS_PER_MESSAGE, parseHoldingsAnswer } from "./holdings-message.ts";
import { holdingsUrl } from "./urls.ts";

/** The fields of every message of one process. */
export type ReporterIdentity = Pick<HoldingsMessage, "peer" | "port" | "host" | "zone" | "epoch" | "lease">;

/** What a {@link HoldingsReporter} needs. */
export interface HoldingsReporterInit {
  readonly tracker: URL;
  readonly identity: ReporterIdentity;
  /** Live: what is held now. Only read here. */
  readonly held: ReadonlySet<string>;
  readonly http: TrackerHttp;
  /** Between heartbeats without change, and for one request; ms. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly log: Logger;
  /** 0..1, for jitter. */
  readonly random: () => number;
}

/** Changes are collected for so long before they are sent. */
const COLLECT_MS = 100;
const RETRY_MS = { first: 250, most: 30_000, unsupported: 300_000 } as const;
const MAX_ANSWER_BYTES = 64 * 1024;

/**
 * - `told`: the tracker knows everything
 * - `resync`: it wants the whole list
 * - `failed`: it did not answer, or refused
 * - `unsupported`: it has no such route (another make of tracker)
 */
type Outcome = "told" | "resync" | "failed" | "unsupported";

/** Reports to one tracker, one request at a time. */
export class HoldingsReporter {
  readonly #init: HoldingsReporterInit;
  readonly #url: URL;
  readonly #stopped = new AbortController();
  /** The whole list: `wanted` but not begun, or what is left of it to send; `undefined`: the tracker has had it. */
  #full: "wanted" | string[] | undefined = "wanted";
  /** Digests whose state may be news to the tracker, beside the whole list. Bounded: see {@link changed}. */
  readonly #dirty = new Set<string>();
  #seq = 0;
  /** Outcomes of this kind in a row. */
  #streak: { outcome: Outcome; length: number } = { outcome: "told", length: 0 };
  #running: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  constructor(init: HoldingsReporterInit) {
    this.#init = init;
    this.#url = holdingsUrl(init.tracker);
  }

  /** Begins to report. A second call does nothing. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** The state of a digest changed. */
  changed(digest: string): void {
    if (this.#full !== "wanted") {
      this.#dirty.add(digest);
      // A tracker that cannot be told costs no memory: it gets the whole list one day.
      if (this.#dirty.size > MAX_DIGESTS_PER_MESSAGE) this.#startOver();
    }
    this.#wake?.();
  }

  /** Ends the reports and tells the tracker so, within `withinMs`. Never rejects. */
  async stop(withinMs: number): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    this.#stopped.abort();
    await this.#running;
    if (this.#seq === 0) return;
    try {
      await this.#send({ add: [], remove: [], stopped: true }, withinMs, []);
    } catch (error) {
      this.#init.log.debug("tracker did not hear that this host stops", { tracker: this.#url.host, error });
    }
  }

  async #run(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const outcome = await this.#tell();
      const same = outcome === this.#streak.outcome ? this.#streak.length : 0;
      this.#streak = { outcome, length: same + 1 };
      await this.#wait(this.#pauseMs(outcome, same), outcome === "told");
    }
  }

  #pauseMs(outcome: Outcome, before: number): number {
    const { intervalMs, random } = this.#init;
    if (outcome === "told") return intervalMs * (0.9 + 0.2 * random());
    if (outcome === "unsupported") return RETRY_MS.unsupported;
    // A tracker that forgot gets everything at once; one that keeps forgetting is not flooded.
    if (outcome === "resync" && before === 0) return 0;
    return Math.min(RETRY_MS.first * 2 ** Math.min(before, 10), RETRY_MS.most) * (0.5 + 0.5 * random());
  }

  /** Sleeps; a change ends a sleep that may be woken, after the time in which more changes are collected. */
  #wait(ms: number, wakeable: boolean): Promise<void> {
    return new Promise((resolve) => {
      const { signal } = this.#stopped;
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        this.#wake = undefined;
        resolve();
      };
      let timer = setTimeout(done, ms);
      signal.addEventListener("abort", done);
      if (signal.aborted) done();
      if (!wakeable) return;
      this.#wake = () => {
        this.#wake = undefined;
        clearTimeout(timer);
        timer = setTimeout(done, Math.min(COLLECT_MS, ms));
      };
      if (this.#dirty.size > 0 || this.#full !== undefined) this.#wake();
    });
  }

  /** Sends what is to be sent, at least one message. */
  async #tell(): Promise<Outcome> {
    const { log, timeoutMs, held } = this.#init;
    do {
      const whole = this.#full !== undefined;
      const digests = this.#take();
      try {
        const { resync } = await this.#send(
          {
            add: digests.list.filter((digest) => held.has(digest)),
            remove: whole ? [] : digests.list.filter((digest) => !held.has(digest)),
            ...(digests.first ? { full: true } : {}),
          },
          timeoutMs,
          [this.#stopped.signal],
        );
        if (resync) {
          this.#startOver();
          return "resync";
        }
      } catch (error) {
        if (this.#stopped.signal.aborted) return "failed";
        if (whole || digests.list.length + this.#dirty.size > MAX_DIGESTS_PER_MESSAGE) this.#startOver();
        // The tracker may or may not have heard it; said twice it does no harm, and a lost message is seen by its seq.
        else for (const digest of digests.list) this.#dirty.add(digest);
        const unsupported = error instanceof UnsupportedError;
        const outcome = unsupported ? "unsupported" : "failed";
        // One failure alone is often a kept connection that the tracker closed meanwhile.
        const { outcome: last, length } = this.#streak;
        if (unsupported ? last !== "unsupported" : last === "failed" && length === 1) {
          log.warn(unsupported ? "tracker takes no heartbeats" : "tracker did not take the heartbeat", {
            tracker: this.#url.host,
            error,
          });
        }
        return outcome;
      }
    } while (this.#full !== undefined || this.#dirty.size > 0);
    if (this.#streak.outcome === "failed" && this.#streak.length > 1)
      log.info("tracker takes heartbeats again", { tracker: this.#url.host });
    return "told";
  }

  #take(): { list: string[]; first: boolean } {
    let first = false;
    if (this.#full === "wanted") {
      this.#full = [...this.#init.held];
      this.#dirty.clear();
      first = true;
    }
    if (this.#full !== undefined) {
      const list = this.#full.splice(-MAX_DIGESTS_PER_MESSAGE);
      if (this.#full.length === 0) this.#full = undefined;
      return { list, first };
    }
    const list = [...this.#dirty];
    this.#dirty.clear();
    return { list, first };
  }

  #startOver(): void {
    this.#full = "wanted";
    this.#dirty.clear();
  }

  async #send(
    fields: Pick<HoldingsMessage, "add" | "remove" | "full" | "stopped">,
    timeoutMs: number,
    signals: AbortSignal[],
  ) {
    this.#seq += 1;
    const message: HoldingsMessage = { ...this.#init.identity, seq: this.#seq, ...fields };
    const { status, body } = await exchange(this.#init.http, {
      url: this.#url,
      method: "POST",
      body: new TextEncoder().encode(JSON.stringify(message)),
      timeoutMs,
      maxBytes: MAX_ANSWER_BYTES,
      signals,
    });
    if (status === 404 || status === 405 || status === 501) throw new UnsupportedError(this.#url);
    if (status !== 200) {
      const text = new TextDecoder().decode(body.subarray(0, 200));
      throw new TrackerError("refused", `tracker ${this.#url.host} answered status ${status}: ${text}`);
    }
    return parseHoldingsAnswer(body);
  }
}

/** Another make of tracker: it has no route for holdings. */
class UnsupportedError extends TrackerError {
  constructor(url: URL) {
    super("refused", `tracker ${url.host} has no ${url.pathname}`);
  }
}
