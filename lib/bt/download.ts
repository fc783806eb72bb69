/**
 * Takes the missing pieces of a blob from all sources at once. It decides nothing itself: `picker.ts` says which
 * piece, sources fetch, the blob stores.
 * @module
 */
import type { Logger } from "../log/log.ts";
import type { Bitfield } from "./bitfield.ts";
import { BufferPool } from "./buffer-pool.ts";
import { BlobError } from "./errors.ts";
import type { Layout } from "./layout.ts";
import type { RateLimiter } from "./limiter.ts";
import type { LiveBlob, SourceKind } from "./live-blob.ts";
import type { Neighbour } from "./neighbours.ts";
import { Pace, smoothed } from "./pace.ts";
import { type Flight, isEndgame, isLate, type Lateness, pickPiece } from "./picker.ts";
import { sameHash } from "./piece-hashes.ts";
import {
  type FetchedPiece,
  type PieceAsk,
  type PieceSource,
  type SourceChange,
  SourceError,
} from "./sources/source.ts";
import { urgentPieces, wantedPiece } from "./urgency.ts";

/** Of buffers that wait for their next piece: as many as a window of small pieces, few large ones. */
const IDLE_BYTES = 16 * 1024 * 1024;
/** How often lateness is looked at while pieces are under way, ms. */
const TICK = 50;
/** A request under way for so long, ms, must have brought bytes at this rate, bytes/s, or its source is left. */
const TOO_SLOW = { afterMs: 10_000, rate: 16 * 1024 };
/** Failures in a row after which a source is left. */
const MAX_FAILURES = 3;
/** Requests at peers for late pieces, beyond the window. */
const LATE_ROOM = 2;
/** Fewer bytes than these are no progress: a source that sends a byte now and then must not keep the origin away. */
const TRICKLE = 16 * 1024;

/** What a download needs. */
export interface DownloadInit {
  readonly blob: LiveBlob;
  readonly limiter: RateLimiter;
  readonly log: Logger;
  /** All downloads of the host that run: they share its requests. @default this one alone */
  readonly downloads?: Set<unknown>;
  /** How far the nearest peer is, ms; see `request-limits.ts`. @default unknown */
  distanceMs?(): number | undefined;
  /** Bytes that a request brought, wanted or not; told when it ends. */
  onBytes?(kind: SourceKind, bytes: number): void;
  /** A source sent bytes that fail their own hash. */
  onLiar?(source: PieceSource, error: SourceError): void;
  /** A source is left for good. */
  onLeave?(source: PieceSource, error: SourceError): void;
  readonly now?: () => number;
  readonly random?: () => number;
}

interface Active extends Flight {
  progress: number;
  heardAt: number | undefined;
  received: number;
  /** It brought the piece, which is being stored. */
  arrived: boolean;
  readonly source: PieceSource;
  readonly abort: AbortController;
}

interface SourceState {
  readonly source: PieceSource;
  /** Requests under way, those whose piece the source will choose included. */
  readonly requests: Set<AbortController>;
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

/** See the module. Add sources at any time; `run` ends when the blob has all pieces, failed, or the signal aborts. */
export class Download {
  readonly #init: DownloadInit;
  readonly #blob: LiveBlob;
  readonly #layout: Layout;
  readonly #buffers: BufferPool;
  readonly #sources = new Map<PieceSource, SourceState>();
  readonly #flights = new Map<number, Active[]>();
  readonly #availability: Uint16Array;
  readonly #pace = new Pace();
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #stop = new AbortController();
  readonly #downloads: Set<unknown>;
  #limits = this.#pace.limits({ peers: 0 });
  /** Requests under way at peers. */
  #atPeers = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lastProgress: number;
  #trickle = 0;

  /** The blob's layout must be known. */
  constructor(init: DownloadInit) {
    if (!init.blob.layout) throw new BlobError("unavailable", "a download needs the blob's layout");
    this.#init = init;
    this.#blob = init.blob;
    this.#layout = init.blob.layout;
    const { pieceLength } = this.#layout;
    this.#buffers = new BufferPool(pieceLength, Math.floor(IDLE_BYTES / pieceLength));
    this.#availability = new Uint16Array(this.#layout.count);
    this.#downloads = init.downloads ?? new Set();
    this.#now = init.now ?? (() => performance.now());
    this.#random = init.random ?? Math.random;
    this.#lastProgress = this.#now();
  }

  /** Monotonic ms when bytes worth the name arrived last. */
  get lastProgress(): number {
    return this.#lastProgress;
  }
  get sourceCount(): number {
    return this.#sources.size;
  }
  /** Sources that said to have at least one piece this host lacks, and those that choose. */
  get usefulSources(): number {
    let count = 0;
    for (const { source } of this.#sources.values()) if (source.chooses || (source.pieces?.count ?? 0) > 0) count += 1;
    return count;
  }

  /** Median ms of the latest pieces; undefined before the first. */
  get medianMs(): number | undefined {
    return this.#pace.medianMs;
  }

  /** The peers among the sources, by their names, as `neighbours.ts` looks at them. */
  neighbours(): Neighbour<string>[] {
    const owing = new Map<PieceSource, number>();
    for (const { source, heardAt, startedAt } of this.#allFlights()) {
      if (heardAt === undefined) owing.set(source, Math.min(startedAt, owing.get(source) ?? startedAt));
    }
    const { covered } = this.#blob;
    return [...this.#sources.values()]
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

  add(source: PieceSource): void {
    if (this.#stop.signal.aborted || this.#blob.have?.full) {
      source.close();
      return;
    }
    this.#sources.set(source, {
      source,
      requests: new Set(),
      failures: 0,
      restUntil: 0,
      since: this.#now(),
      pieceMs: undefined,
      lastPieceAt: undefined,
    });
    source.start((change) => this.#onSourceChange(source, change));
    this.#schedule();
  }

  /** The source of a name. */
  find(name: string): PieceSource | undefined {
    for (const source of this.#sources.keys()) if (source.name === name) return source;
    return undefined;
  }

  /** Leaves a source; its requests are given up. */
  remove(source: PieceSource, error: SourceError): void {
    const state = this.#sources.get(source);
    if (!state) return;
    this.#sources.delete(source);
    source.close();
    for (const request of state.requests) request.abort();
    this.#recount();
    this.#init.onLeave?.(source, error);
    this.#schedule();
  }

  /** Pieces under way; a fallback leaves them alone. */
  inFlight(piece: number): boolean {
    return this.#flights.has(piece);
  }

  /** @throws BlobError when the blob fails; the signal's reason when it aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const unsubscribe = this.#blob.subscribe((change) => {
      if (change.type === "piece") this.#onPiece(change.piece);
      else if (change.type === "hashes" || change.type === "demand") this.#schedule();
      else if (change.type === "progress") this.#lastProgress = this.#now();
    });
    this.#downloads.add(this);
    try {
      this.#schedule();
      await this.#blob.waitFor(() => this.#blob.have?.full === true, signal);
    } finally {
      unsubscribe();
      this.#end();
    }
  }

  #end(): void {
    this.#stop.abort();
    this.#downloads.delete(this);
    clearTimeout(this.#timer);
    for (const flight of this.#allFlights()) flight.abort.abort();
    for (const source of this.#sources.keys()) source.close();
    this.#sources.clear();
  }

  *#allFlights(): Generator<Active> {
    for (const list of this.#flights.values()) yield* list;
  }

  #onPiece(piece: number): void {
    for (const flight of this.#flights.get(piece) ?? []) if (!flight.arrived) flight.abort.abort();
    this.#schedule();
  }

  #onSourceChange(source: PieceSource, change: SourceChange): void {
    const state = this.#sources.get(source);
    if (!state) return;
    if (change.type === "gone") {
      if (change.error.code === "liar") this.#init.onLiar?.(source, change.error);
      this.remove(source, change.error);
    } else if (change.type === "added") {
      for (const piece of change.pieces) this.#availability[piece]! += 1;
      // A hundred times a second from each peer: the others have nothing new.
      if (this.#running && this.#hasRoom(state, this.#limits.window)) {
        const now = this.#now();
        this.#askOf(state, { now, window: this.#limits.window, urgent: this.#urgent(now) });
      }
    } else {
      this.#recount();
      this.#schedule();
    }
  }

  #recount(): void {
    this.#availability.fill(0);
    for (const source of this.#sources.keys()) {
      for (const piece of source.pieces ?? []) this.#availability[piece]! += 1;
    }
  }

  get #running(): boolean {
    const { have, hashes, error } = this.#blob;
    return !this.#stop.signal.aborted && have !== undefined && hashes !== undefined && !have.full && !error;
  }

  /** Asks all sources for what there is to ask. */
  #schedule({ isTick = false }: { isTick?: boolean } = {}): void {
    if (!this.#running) return;
    const now = this.#now();
    let peers = 0;
    for (const { source } of this.#sources.values()) if (source.kind === "peer" && source.pieces) peers += 1;
    const distanceMs = this.#init.distanceMs?.();
    this.#limits = this.#pace.limits({ peers, downloads: Math.max(1, this.#downloads.size), distanceMs });
    const states = [...this.#sources.values()];
    const from = Math.floor(this.#random() * states.length);
    const urgent = this.#urgent(now);
    const isLateRoom = isTick && (urgent.length > 0 || this.#hasLate(now));
    const window = this.#limits.window + (isLateRoom ? LATE_ROOM : 0);
    for (let index = 0; index < states.length; index++) {
      const state = states[(from + index) % states.length]!;
      if (this.#hasRoom(state, window)) this.#askOf(state, { now, window, urgent });
    }
    this.#tick();
  }

  /** Whether the source can be asked for one more piece, as far as limits go. */
  #hasRoom({ source, requests }: SourceState, window: number): boolean {
    const { depth, seeder } = this.#limits;
    if (requests.size >= source.depth) return false;
    if (source.kind === "peer") return requests.size < depth && this.#atPeers < window;
    return !source.chooses || requests.size < seeder;
  }

  #askOf(
    state: SourceState,
    { now, window, urgent }: { now: number; window: number; urgent: readonly number[] },
  ): void {
    if (state.restUntil > now) return;
    while (this.#hasRoom(state, window) && this.#ask(state, urgent, now));
  }

  #hasLate(now: number): boolean {
    const state = this.#lateness(now);
    for (const flights of this.#flights.values()) if (isLate(flights, state)) return true;
    return false;
  }

  #lateness(now: number): Lateness {
    const endgame = isEndgame({ have: this.#blob.covered!, flights: this.#flights });
    return { now, medianMs: this.#pace.medianMs, endgame };
  }

  #urgent(now: number): number[] {
    return urgentPieces(this.#blob, { now, medianMs: this.#pace.medianMs });
  }

  /** A source that sends a byte now and then would pass for a living one for ever. */
  #leaveTricklers(now: number): void {
    for (const flight of [...this.#allFlights()]) {
      const ms = now - flight.startedAt;
      if (flight.arrived || ms < TOO_SLOW.afterMs || flight.received >= (ms / 1000) * TOO_SLOW.rate) continue;
      this.remove(
        flight.source,
        new SourceError("failed", `${flight.source.name} sends less than ${TOO_SLOW.rate} bytes/s`),
      );
    }
  }

  /** Looks again soon: lateness and rests end by time alone. */
  #tick(): void {
    if (this.#timer !== undefined || this.#sources.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#leaveTricklers(this.#now());
      this.#schedule({ isTick: true });
    }, TICK);
  }

  /** @returns Whether a request was begun. */
  #ask(state: SourceState, urgent: readonly number[], now: number): boolean {
    const { source } = state;
    const have = this.#blob.have!;
    if (source.chooses) {
      const asked = this.#asked(source, now);
      if (asked.full) return false;
      const want = wantedPiece(this.#blob, {
        now,
        medianMs: this.#pace.medianMs,
        asked,
        offered: this.#availability,
      });
      void this.#fetch(state, undefined, asked, want);
      return true;
    }
    if (!source.pieces) return false;
    const piece = pickPiece({
      offered: source.pieces,
      have: this.#blob.covered!,
      known: this.#blob.hashes!.known,
      flights: this.#flights,
      availability: this.#availability,
      urgent,
      medianMs: this.#pace.medianMs,
      now,
      random: this.#random,
    });
    if (piece === undefined || this.#blob.isWriting(piece)) return false;
    void this.#fetch(state, piece, have, undefined);
    return true;
  }

  /** What this host has or asked for, without what is late elsewhere. */
  #asked(source: PieceSource, now: number): Bitfield {
    const asked = this.#blob.covered!.clone();
    const state = this.#lateness(now);
    for (const [piece, flights] of this.#flights) {
      const own = flights.some((flight) => flight.source === source);
      if (own || !isLate(flights, state)) asked.add(piece);
    }
    for (const piece of this.#blob.writing) asked.add(piece);
    return asked;
  }

  async #fetch(
    state: SourceState,
    piece: number | undefined,
    asked: Bitfield,
    want: number | undefined,
  ): Promise<void> {
    const { source } = state;
    const abort = new AbortController();
    const startedAt = this.#now();
    let flight: Active | undefined;
    let taken = 0;
    const track = (index: number): Active => {
      flight ??= this.#takeOff({
        piece: index,
        startedAt: piece === undefined ? this.#now() : startedAt,
        progress: 0,
        heardAt: undefined,
        received: 0,
        arrived: false,
        source,
        abort,
      });
      return flight;
    };
    if (piece !== undefined) track(piece);
    state.requests.add(abort);
    if (source.kind === "peer") this.#atPeers += 1;
    const stopped = () => abort.abort();
    this.#stop.signal.addEventListener("abort", stopped, { once: true });
    try {
      const wanted = piece === undefined ? this.#layout.pieceLength : this.#layout.length(piece);
      await this.#init.limiter.take(wanted, abort.signal);
      taken = wanted;
      const fetched = await source.fetch(this.#message({ piece, asked, want, signal: abort.signal, track }));
      state.failures = 0;
      if (flight) flight.arrived = true;
      if (fetched) await this.#store(fetched, state, flight?.startedAt ?? startedAt);
      else state.restUntil = this.#now() + TICK;
    } catch (error) {
      this.#onFailure(state, error, abort.signal.aborted);
    } finally {
      this.#stop.signal.removeEventListener("abort", stopped);
      state.requests.delete(abort);
      if (source.kind === "peer") this.#atPeers -= 1;
      this.#init.limiter.charge((flight?.received ?? 0) - taken);
      if (flight) {
        this.#land(flight);
        this.#init.onBytes?.(source.kind, flight.received);
      }
      this.#schedule();
    }
  }

  #message({
    piece,
    asked,
    want,
    signal,
    track,
  }: {
    piece: number | undefined;
    asked: Bitfield;
    want: number | undefined;
    signal: AbortSignal;
    track(piece: number): Active;
  }): PieceAsk {
    return {
      piece,
      asked,
      want,
      signal,
      expected: (index) => this.#blob.hashes?.get(index),
      buffer: (index) => {
        track(index);
        return this.#buffers.take().subarray(0, this.#layout.length(index));
      },
      release: (buffer) => this.#buffers.give(buffer),
      onBytes: (index, bytes) => {
        const flight = track(index);
        const now = this.#now();
        if (flight.received === 0 && piece !== undefined) this.#pace.answered(now - flight.startedAt);
        flight.heardAt = now;
        flight.received += bytes;
        flight.progress = flight.received / this.#layout.length(index);
        this.#trickle += bytes;
        if (this.#trickle >= TRICKLE) {
          this.#trickle = 0;
          this.#lastProgress = now;
        }
      },
    };
  }

  async #store(fetched: FetchedPiece, state: SourceState, startedAt: number): Promise<void> {
    const { piece, bytes, sha1 } = fetched;
    const { source } = state;
    try {
      const known = this.#blob.hashes?.get(piece);
      if (!known && source.trusted) this.#blob.addHashes(piece, sha1);
      else if (!known || !sameHash(known, sha1)) {
        throw new SourceError("other_list", `${source.name} follows another list of piece hashes`);
      }
      const now = this.#now();
      this.#pace.arrived({ startedAt, now });
      state.pieceMs = smoothed(state.pieceMs, now - startedAt);
      state.lastPieceAt = now;
      await this.#blob.store(piece, bytes, source.kind);
    } finally {
      this.#buffers.give(bytes);
    }
  }

  #takeOff(flight: Active): Active {
    const list = this.#flights.get(flight.piece);
    if (list) list.push(flight);
    else this.#flights.set(flight.piece, [flight]);
    return flight;
  }

  #land(flight: Active): void {
    const list = this.#flights.get(flight.piece)?.filter((other) => other !== flight) ?? [];
    if (list.length > 0) this.#flights.set(flight.piece, list);
    else this.#flights.delete(flight.piece);
  }

  #onFailure(state: SourceState, cause: unknown, aborted: boolean): void {
    if (aborted || cause instanceof BlobError) return;
    const error = cause instanceof SourceError ? cause : new SourceError("failed", String(cause), { cause });
    state.failures += 1;
    if (error.code === "liar") this.#init.onLiar?.(state.source, error);
    if (error.code !== "failed" || state.failures >= MAX_FAILURES) this.remove(state.source, error);
    else state.restUntil = this.#now() + 200 * 2 ** state.failures;
    this.#init.log.debug("a source failed", {
      source: state.source.name,
      code: error.code,
      error: error.message,
      failures: state.failures,
    });
  }
}
