/**
 * The sources of a download: what each has brought, what it is asked for, and what they offer together.
 * @module
 */
import type { Bitfield } from "./bitfield.ts";
import type { PieceFlight } from "./flights.ts";
import type { Neighbour } from "./neighbours.ts";
import type { PieceRequest } from "./piece-request.ts";
import type { RequestLimits } from "./request-limits.ts";
import type { PieceSource } from "./sources/source.ts";

export interface SourceState {
  readonly source: PieceSource;
  /** Requests under way, those whose piece the source will choose included. */
  readonly requests: Set<PieceRequest>;
  failures: number;
  /** Monotonic ms before which it is not asked. */
  restUntil: number;
  /** Monotonic ms when it was added. */
  readonly since: number;
  /** Smoothed ms a piece takes from it; undefined before its first. */
  pieceMs: number | undefined;
  /** Monotonic ms of its latest piece; undefined before its first. */
  lastPieceAt: number | undefined;
}

/** See the module. */
export class SourceStates {
  /** How many sources offer each piece. */
  readonly availability: Uint16Array;
  readonly #bySource = new Map<PieceSource, SourceState>();
  /** The same states: they are gone through for each piece. */
  #all: readonly SourceState[] = [];
  /** Requests under way at peers. */
  #atPeers = 0;

  /** @param count Pieces of the blob. */
  constructor(count: number) {
    this.availability = new Uint16Array(count);
  }

  get all(): readonly SourceState[] {
    return this.#all;
  }

  /** Peers that have said what they have. */
  get peers(): number {
    return this.#count(({ kind, pieces }) => kind === "peer" && pieces !== undefined);
  }

  /** Sources that said to have at least one piece, and those that choose. */
  get useful(): number {
    return this.#count(({ chooses, pieces }) => chooses || (pieces?.count ?? 0) > 0);
  }

  /** Of these those that do not choose. */
  get usefulPeers(): number {
    return this.#count(({ chooses, pieces }) => !chooses && (pieces?.count ?? 0) > 0);
  }

  get(source: PieceSource): SourceState | undefined {
    return this.#bySource.get(source);
  }

  /** The source of a name. */
  find(name: string): PieceSource | undefined {
    return this.#all.find(({ source }) => source.name === name)?.source;
  }

  /** @param since Monotonic ms. */
  add(source: PieceSource, since: number): void {
    this.#bySource.set(source, {
      source,
      requests: new Set(),
      failures: 0,
      restUntil: 0,
      since,
      pieceMs: undefined,
      lastPieceAt: undefined,
    });
    this.#all = [...this.#bySource.values()];
  }

  #count(condition: (source: PieceSource) => boolean): number {
    let count = 0;
    for (const { source } of this.#all) if (condition(source)) count += 1;
    return count;
  }

  /** Closes it and gives up its requests. @returns Whether it was there. */
  remove(source: PieceSource): boolean {
    const state = this.#bySource.get(source);
    if (!state) return false;
    this.#bySource.delete(source);
    this.#all = [...this.#bySource.values()];
    source.close();
    for (const request of state.requests) request.abort();
    this.recount();
    return true;
  }

  /** Closes all and gives up what is under way. */
  clear(): void {
    const states = this.#all;
    this.#bySource.clear();
    this.#all = [];
    for (const { requests } of states) for (const request of requests) request.abort();
    for (const { source } of states) source.close();
  }

  /** Counts anew what they offer. */
  recount(): void {
    this.availability.fill(0);
    for (const { source } of this.#all) this.count(source.pieces ?? []);
  }

  /** A source offers pieces that it did not before. */
  count(pieces: Iterable<number>): void {
    for (const piece of pieces) this.availability[piece]! += 1;
  }

  /** Whether the source can be asked for one more piece, as far as limits go. */
  hasRoom({ source, requests }: SourceState, { window, depth, seeder }: RequestLimits): boolean {
    if (requests.size >= source.depth) return false;
    if (source.kind === "peer") return requests.size < depth && this.#atPeers < window;
    return !source.chooses || requests.size < seeder;
  }

  /** A request has begun. */
  begin(state: SourceState, request: PieceRequest): void {
    state.requests.add(request);
    if (state.source.kind === "peer") this.#atPeers += 1;
  }

  /** A request has ended, however. */
  end(state: SourceState, request: PieceRequest): void {
    state.requests.delete(request);
    if (state.source.kind === "peer") this.#atPeers -= 1;
  }

  /**
   * The peers, by their names, as `neighbours.ts` looks at them.
   * @param covered What this host has; undefined while it does not know.
   */
  neighbours(flights: Iterable<PieceFlight>, covered: Bitfield | undefined): Neighbour<string>[] {
    const owing = new Map<PieceSource, number>();
    for (const { source, heardAt, startedAt } of flights) {
      if (heardAt === undefined) owing.set(source, Math.min(startedAt, owing.get(source) ?? startedAt));
    }
    return this.#all
      .filter(({ source }) => source.kind === "peer")
      .map(({ source, requests, since, pieceMs, lastPieceAt }) => ({
        key: source.name,
        zone: "",
        since,
        owingSince: owing.get(source),
        requests: requests.size,
        useful: covered === undefined || (source.pieces?.hasBeyond(covered) ?? false),
        pieceMs,
        lastPieceAt,
      }));
  }
}
