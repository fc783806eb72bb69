/**
 * The standard BitTorrent swarms (K2) that this host is announced in. Not one for each blob it holds, but those that
 * somebody uses by wire: a blob that arrives now, one whose torrent was handed out, one that a wire peer came for. Each
 * ends when nobody used it for a while (docs/design.md, "The wire").
 * @module
 */
import type { Logger } from "../../log/log.ts";
import type { AnnounceAnswer, TrackerClient } from "../../tracker/client.ts";

/** Swarms at most; the one that was used longest ago leaves. */
const MAX_SWARMS = 64;
/** A swarm that nobody used for so long is left, ms. */
const LINGER_MS = 15 * 60_000;
const TICK_MS = 1000;
/** Announces under way at most. */
const MAX_AT_ONCE = 8;
const RETRY_MS = 5000;
/** How long the trackers may take to hear at the end that this host leaves, ms. */
const STOP_MS = 1500;

/** What is announced. */
export interface SwarmMember {
  /** Bytes this host still lacks. */
  left(): number;
  /** What a tracker answered. */
  onAnswer(answer: AnnounceAnswer): void;
}

interface Swarm {
  readonly key: Uint8Array;
  member: SwarmMember;
  /** Monotonic ms. */
  usedAt: number;
  nextAt: number;
  /** Not left 0 yet, in the trackers' eyes. */
  wasIncomplete: boolean;
  started: boolean;
  announcing: Promise<void> | undefined;
}

export interface SwarmsInit {
  readonly tracker: TrackerClient;
  readonly log: Logger;
  /** Monotonic clock, ms. @default performance.now */
  readonly now?: () => number;
}

/** See the module. */
export class Swarms {
  readonly #init: SwarmsInit;
  readonly #now: () => number;
  readonly #swarms = new Map<string, Swarm>();
  readonly #closing = new AbortController();
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(init: SwarmsInit) {
    this.#init = init;
    this.#now = init.now ?? (() => performance.now());
  }

  /** Info hashes, used longest ago first. */
  get names(): string[] {
    return [...this.#swarms.keys()];
  }

  /**
   * Enters a swarm, or notes that it is used.
   * @param infoHash 40 hex digits.
   * @returns Resolves when the first announce has been answered or has failed.
   */
  async enter(infoHash: string, member: SwarmMember): Promise<void> {
    if (this.#closing.signal.aborted) return;
    const now = this.#now();
    let swarm = this.#swarms.get(infoHash);
    if (swarm) {
      this.#swarms.delete(infoHash);
      swarm.member = member;
      swarm.usedAt = now;
    } else {
      const key = Uint8Array.from(Buffer.from(infoHash, "hex"));
      swarm = {
        key,
        member,
        usedAt: now,
        nextAt: now,
        wasIncomplete: member.left() > 0,
        started: false,
        announcing: undefined,
      };
    }
    this.#swarms.set(infoHash, swarm);
    for (const oldest of this.#swarms.keys()) {
      if (this.#swarms.size <= MAX_SWARMS) break;
      this.leave(oldest);
    }
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
    if (!swarm.started) await this.#announce(swarm);
  }

  /** Notes that a swarm is used, if this host is in it. */
  touch(infoHash: string): void {
    const swarm = this.#swarms.get(infoHash);
    if (swarm) swarm.usedAt = this.#now();
  }

  /** The blob is whole: the trackers hear it soon. */
  completed(infoHash: string): void {
    const swarm = this.#swarms.get(infoHash);
    if (swarm) swarm.nextAt = this.#now();
  }

  leave(infoHash: string): void {
    const swarm = this.#swarms.get(infoHash);
    if (!swarm) return;
    this.#swarms.delete(infoHash);
    void this.#stopped(swarm);
    if (this.#swarms.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort();
    const swarms = [...this.#swarms.values()];
    this.#swarms.clear();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const enough = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, STOP_MS);
    });
    await Promise.race([Promise.all(swarms.map((swarm) => this.#stopped(swarm))), enough]);
    clearTimeout(timer);
  }

  #tick(): void {
    const now = this.#now();
    let room = MAX_AT_ONCE;
    for (const [name, swarm] of this.#swarms) {
      if (swarm.announcing) room -= 1;
      else if (now - swarm.usedAt > LINGER_MS) this.leave(name);
    }
    for (const swarm of this.#swarms.values()) {
      if (room <= 0) return;
      if (swarm.announcing || swarm.nextAt > now) continue;
      room -= 1;
      void this.#announce(swarm);
    }
  }

  /** Never rejects. */
  #announce(swarm: Swarm): Promise<void> {
    swarm.announcing ??= this.#ask(swarm).finally(() => {
      swarm.announcing = undefined;
    });
    return swarm.announcing;
  }

  async #ask(swarm: Swarm): Promise<void> {
    const { tracker, log } = this.#init;
    const left = swarm.member.left();
    const event = !swarm.started ? "started" : swarm.wasIncomplete && left === 0 ? "completed" : undefined;
    try {
      const answer = await tracker.announce(swarm.key, {
        ...(event ? { event } : {}),
        left,
        signal: this.#closing.signal,
      });
      swarm.started = true;
      swarm.wasIncomplete = left > 0;
      swarm.nextAt = this.#now() + answer.intervalMs;
      swarm.member.onAnswer(answer);
    } catch (error) {
      swarm.nextAt = this.#now() + RETRY_MS;
      if (!this.#closing.signal.aborted) log.debug("no tracker answers for the wire", { error });
    }
  }

  async #stopped(swarm: Swarm): Promise<void> {
    if (!swarm.started) return;
    await this.#init.tracker.announce(swarm.key, { event: "stopped", left: swarm.member.left() }).catch(() => {});
  }
}
