/**
 * @module Announces to trackers (BEP 3), several at once (BEP 12).
 *
 * All trackers of a tier are asked in parallel, tiers one after the other until one answers: one live tracker is
 * enough. A tracker that fails is left out for a while, so that a mute one does not cost its timeout at each announce.
 */
import { HttpClient } from "../http/client.ts";
import { type Logger, silentLogger } from "../log/log.ts";
import { type AnnounceAnswer, mergePeers, parseAnnounceAnswer } from "./announce-answer.ts";
import { TrackerError } from "./errors.ts";
import { exchange, type TrackerHttp } from "./exchange.ts";
import { KEY_BYTES } from "./keys.ts";
import { announceUrl } from "./urls.ts";

export type { AnnounceAnswer, PeerAddress } from "./announce-answer.ts";
export { TrackerError, type TrackerErrorCode } from "./errors.ts";

const MAX_ANSWER_BYTES = 1024 * 1024;
/** After the first answer, how long the other trackers of the tier may still add theirs. */
const GRACE_MS = 150;
const BACKOFF_MS = { first: 1_000, most: 30_000 } as const;

/** How a {@link TrackerClient} is made. */
export interface TrackerClientInit {
  /** Tiers of trackers: a base URL (`http://host:6969`) or the URL of announce itself. */
  readonly trackers: readonly (readonly URL[])[];
  /** 20 bytes. */
  readonly peerId: Uint8Array;
  /** Where this peer listens, for the swarms that are announced. */
  readonly port: number;
  /** Place of this host; trackers of Eagle put peers of the same zone first. */
  readonly zone?: string;
  /**
   * These swarms are the cluster's own (K1): a tracker that knows its parts keeps strangers out of them. The requests
   * must be signed then. @default false
   */
  readonly isClosed?: boolean;
  /** Where this peer is reached, if not at the address it asks from; trackers believe it of parts of their cluster. */
  readonly host?: string;
  /** Not closed by this client. @default one of its own */
  readonly http?: TrackerHttp;
  readonly log?: Logger;
  /** `announces{result}` counts the requests sent, by "ok" or error code. */
  readonly metrics?: { readonly announces: { inc(labels: { result: string }): void } };
  /** For one tracker's whole answer. @default 3000 */
  readonly timeoutMs?: number;
  /** Monotonic clock, ms. @default performance.now */
  readonly now?: () => number;
}

/** What an announce says. */
export interface AnnounceInit {
  /** Left out: the regular announce. */
  readonly event?: "started" | "stopped" | "completed";
  /** Bytes still missing; 0 says that this peer holds everything. */
  readonly left: number;
  readonly uploaded?: number;
  readonly downloaded?: number;
  /** Peers wanted. @default the tracker's own default, 50 */
  readonly numwant?: number;
  readonly signal?: AbortSignal;
}

interface Tracker {
  readonly url: URL;
  failures: number;
  failedAt: number;
  retryAt: number;
}

/** Announces one peer, at one port, to all its trackers. */
export class TrackerClient {
  readonly #tiers: readonly (readonly Tracker[])[];
  readonly #identity: readonly string[];
  readonly #ownId: string;
  readonly #http: TrackerHttp;
  readonly #ownHttp: TrackerHttp | undefined;
  readonly #log: Logger;
  readonly #metrics: TrackerClientInit["metrics"];
  readonly #timeoutMs: number;
  readonly #now: () => number;
  readonly #closed = new AbortController();

  constructor({
    trackers,
    peerId,
    port,
    zone,
    isClosed = false,
    host,
    http,
    log = silentLogger,
    metrics,
    timeoutMs = 3000,
    now = () => performance.now(),
  }: TrackerClientInit) {
    if (peerId.length !== KEY_BYTES) throw new TrackerError("invalid", "a peer id has 20 bytes");
    this.#tiers = trackers
      .map((tier) => tier.map((url) => ({ url: announceUrl(url), failures: 0, failedAt: -1, retryAt: 0 })))
      .filter((tier) => tier.length > 0);
    this.#identity = [
      `peer_id=${percent(peerId)}`,
      `port=${port}`,
      // Peer ids only travel in the form with dictionaries.
      "compact=0",
      // Tells an Eagle tracker that this client keeps short intervals; others ignore it.
      "eagle=1",
      ...(zone === undefined || zone === "" ? [] : [`zone=${encodeURIComponent(zone)}`]),
      ...(isClosed ? ["closed=1"] : []),
      ...(host === undefined ? [] : [`host=${encodeURIComponent(host)}`]),
    ];
    this.#ownId = Buffer.from(peerId).toString("hex");
    this.#ownHttp = http === undefined ? new HttpClient() : undefined;
    this.#http = http ?? this.#ownHttp!;
    this.#log = log;
    this.#metrics = metrics;
    this.#timeoutMs = timeoutMs;
    this.#now = now;
  }

  /**
   * Announces to the first tier of which a tracker answers; `stopped` goes to every tracker of every tier.
   *
   * @param key - 20 bytes: K1 of `swarmKey`, or an info hash
   * @returns the answers merged: each address once, never this peer, the shortest interval
   * @throws TrackerError only when no tracker answered: the last failure, the others as its cause
   */
  async announce(key: Uint8Array, init: AnnounceInit): Promise<AnnounceAnswer> {
    if (key.length !== KEY_BYTES) throw new TrackerError("invalid", "a swarm key has 20 bytes");
    const query = this.#query(key, init);
    const failures: TrackerError[] = [];
    for (const group of this.#groups(init.event)) {
      const answers = await this.#askAll(group, query, init.signal, failures);
      if (this.#closed.signal.aborted || init.signal?.aborted) break;
      if (answers.length > 0) return this.#merge(answers);
    }
    if (this.#closed.signal.aborted || init.signal?.aborted) {
      throw new TrackerError("aborted", "the announce was given up", { cause: init.signal?.reason });
    }
    const last = failures.at(-1);
    if (last === undefined) throw new TrackerError("unreachable", "no tracker is configured");
    throw new TrackerError(last.code, `no tracker answered; ${last.message}`, { cause: new AggregateError(failures) });
  }

  /** Ends announces that are under way. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#ownHttp?.close();
  }

  /** Whom to ask together, one group after the other. Trackers that failed lately come last, not never. */
  #groups(event: AnnounceInit["event"]): Tracker[][] {
    if (event === "stopped") return [this.#tiers.flat()].filter((group) => group.length > 0);
    const now = this.#now();
    const resting = (tracker: Tracker) => tracker.retryAt > now;
    return [
      ...this.#tiers.map((tier) => tier.filter((tracker) => !resting(tracker))),
      ...this.#tiers.map((tier) => tier.filter(resting)),
    ].filter((group) => group.length > 0);
  }

  #query(key: Uint8Array, { event, left, uploaded = 0, downloaded = 0, numwant }: AnnounceInit): string {
    return [
      `info_hash=${percent(key)}`,
      ...this.#identity,
      `uploaded=${uploaded}`,
      `downloaded=${downloaded}`,
      `left=${left}`,
      ...(event === undefined ? [] : [`event=${event}`]),
      ...(numwant === undefined ? [] : [`numwant=${numwant}`]),
    ].join("&");
  }

  /** Resolves when all have answered or failed, or a little after the first answer: the rest goes on by itself. */
  #askAll(
    group: readonly Tracker[],
    query: string,
    signal: AbortSignal | undefined,
    failures: TrackerError[],
  ): Promise<AnnounceAnswer[]> {
    return new Promise((resolve) => {
      const answers: AnnounceAnswer[] = [];
      let open = group.length;
      let grace: ReturnType<typeof setTimeout> | undefined;
      const done = () => {
        clearTimeout(grace);
        resolve(answers.slice());
      };
      const ask = async (tracker: Tracker) => {
        try {
          answers.push(await this.#ask(tracker, query, signal));
          grace ??= setTimeout(done, GRACE_MS);
        } catch (error) {
          failures.push(
            error instanceof TrackerError ? error : new TrackerError("invalid", "failed", { cause: error }),
          );
        }
        open -= 1;
        if (open === 0) done();
      };
      for (const tracker of group) void ask(tracker);
    });
  }

  async #ask(tracker: Tracker, query: string, signal: AbortSignal | undefined): Promise<AnnounceAnswer> {
    const startedAt = this.#now();
    try {
      const url = new URL(tracker.url);
      url.search = url.search === "" ? query : `${url.search.slice(1)}&${query}`;
      const { status, body } = await exchange(this.#http, {
        url,
        timeoutMs: this.#timeoutMs,
        maxBytes: MAX_ANSWER_BYTES,
        signals: [signal, this.#closed.signal],
      });
      if (status !== 200) throw new TrackerError("unreachable", `tracker ${url.host} answered status ${status}`);
      const answer = parseAnnounceAnswer(body);
      tracker.failures = 0;
      tracker.retryAt = 0;
      this.#metrics?.announces.inc({ result: "ok" });
      return answer;
    } catch (error) {
      const failure =
        error instanceof TrackerError ? error : new TrackerError("invalid", "no answer to read", { cause: error });
      this.#failed(tracker, startedAt, failure);
      throw failure;
    }
  }

  #failed(tracker: Tracker, startedAt: number, failure: TrackerError): void {
    this.#metrics?.announces.inc({ result: failure.code });
    // A refusal concerns this announce; giving up says nothing about the tracker.
    if (failure.code === "aborted" || failure.code === "refused") return;
    // Announces that were under way together fail together: that is one outage, not many.
    if (startedAt < tracker.failedAt) return;
    const now = this.#now();
    const restMs = Math.min(BACKOFF_MS.first * 2 ** Math.min(tracker.failures, 10), BACKOFF_MS.most);
    tracker.failures += 1;
    tracker.failedAt = now;
    tracker.retryAt = now + restMs;
    this.#log.warn("tracker does not answer", {
      tracker: tracker.url.host,
      code: failure.code,
      error: failure,
      restMs,
    });
  }

  #merge(answers: readonly AnnounceAnswer[]): AnnounceAnswer {
    const peers = mergePeers(answers.map((answer) => answer.peers));
    return {
      peers: peers.filter((peer) => peer.peerId !== this.#ownId),
      intervalMs: Math.min(...answers.map((answer) => answer.intervalMs)),
      complete: Math.max(...answers.map((answer) => answer.complete)),
      incomplete: Math.max(...answers.map((answer) => answer.incomplete)),
    };
  }
}

/** Each byte as %XX: the key is binary, and no parser can then take it for anything else. */
function percent(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex").replace(/../g, "%$&");
}
