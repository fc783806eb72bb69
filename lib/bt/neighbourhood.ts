/**
 * The peers that a download follows, and those it could follow: does what `neighbours.ts` says.
 * @module
 */
import { chooseNeighbours, DEGREE, makeRoom, type Neighbour } from "./neighbours.ts";
import { setLatest } from "./set-latest.ts";
import { sleep } from "./sleep.ts";

/** How often the peers are looked at, ms. */
const REVIEW_MS = 1000;
/** A peer that failed or was left is not followed again for this, ms. */
const REST_MS = 10_000;
/** Peers remembered that are not followed; of more those are forgotten that were heard of first. */
const MAX_CANDIDATES = 200;

/** What a neighbourhood needs. */
export interface NeighbourhoodInit<P> {
  /** Those followed now. */
  neighbours(): readonly Neighbour<string>[];
  /** Median ms of the latest pieces; undefined before the first. */
  medianMs(): number | undefined;
  /** Whether a peer must be neither followed nor kept. @default none */
  isBanned?(name: string): boolean;
  follow(peer: P): void;
  /** Followed by `left`. */
  leave(name: string): void;
  readonly now?: () => number;
  readonly random?: () => number;
}

/** See the module. */
export class Neighbourhood<P> {
  readonly #init: NeighbourhoodInit<P>;
  readonly #followed = new Map<string, P>();
  readonly #candidates = new Map<string, P>();
  /** By name: monotonic ms until which it rests. */
  readonly #resting = new Map<string, number>();
  readonly #now: () => number;
  readonly #random: () => number;

  constructor(init: NeighbourhoodInit<P>) {
    this.#init = init;
    this.#now = init.now ?? (() => performance.now());
    this.#random = init.random ?? Math.random;
  }

  /** Peers of a tracker's answer, which is in order of their kinds and zones: any of them are followed, the rest wait. */
  hearOf(peers: Iterable<readonly [name: string, peer: P]>): void {
    for (const [name, peer] of peers) if (!this.#followed.has(name)) this.#remember(name, peer);
    this.review();
  }

  /** A peer that follows this host is followed back; another leaves for it where there is no place. */
  welcome(name: string, peer: P): void {
    if (this.#followed.has(name) || this.#rests(name)) return;
    if (this.#followed.size >= DEGREE) {
      const leaving = makeRoom({ neighbours: this.#init.neighbours(), random: this.#random });
      if (leaving === undefined) return;
      this.#leave(leaving);
    }
    this.#follow(name, peer);
  }

  /** A peer is followed no more, whoever ended it. It rests; a later announce may bring it back. */
  left(name: string): void {
    if (this.#followed.delete(name)) this.#resting.set(name, this.#now() + REST_MS);
  }

  /** Leaves and follows peers once. */
  review(): void {
    const now = this.#now();
    for (const [name, until] of this.#resting) if (until <= now) this.#resting.delete(name);
    const isBanned = (name: string) => this.#init.isBanned?.(name) ?? false;
    for (const name of [...this.#followed.keys()].filter(isBanned)) this.#leave(name);
    for (const name of [...this.#candidates.keys()].filter(isBanned)) this.#candidates.delete(name);
    const candidates = [...this.#candidates.keys()].filter((name) => !this.#resting.has(name));
    const { drop, add } = chooseNeighbours({
      neighbours: this.#neighbours(now),
      // Trackers know zones, and tell of some peers of each kind.
      candidates: candidates.map((key) => ({ key, zone: "" })),
      zone: "",
      medianMs: this.#init.medianMs(),
      now,
      random: this.#random,
    });
    for (const name of drop) this.#leave(name);
    for (const name of add) this.#follow(name, this.#candidates.get(name)!);
  }

  /** Reviews for ever; rejects when the signal aborts. */
  async run(signal: AbortSignal): Promise<never> {
    for (;;) {
      await sleep(REVIEW_MS, signal);
      this.review();
    }
  }

  /** Those that are followed, whether or not the download has begun to. */
  #neighbours(now: number): Neighbour<string>[] {
    const known = new Map(this.#init.neighbours().map((neighbour) => [neighbour.key, neighbour]));
    const fresh = { zone: "", since: now, requests: 0, useful: true };
    const nothing = { owingSince: undefined, pieceMs: undefined, lastPieceAt: undefined };
    return [...this.#followed.keys()].map((key) => known.get(key) ?? { key, ...fresh, ...nothing });
  }

  #remember(name: string, peer: P): void {
    setLatest(this.#candidates, name, peer, MAX_CANDIDATES);
  }

  #rests(name: string): boolean {
    return (this.#resting.get(name) ?? 0) > this.#now();
  }

  #follow(name: string, peer: P): void {
    this.#candidates.delete(name);
    this.#followed.set(name, peer);
    this.#init.follow(peer);
  }

  #leave(name: string): void {
    const peer = this.#followed.get(name);
    this.#init.leave(name);
    this.left(name);
    if (peer !== undefined) this.#remember(name, peer);
  }
}
