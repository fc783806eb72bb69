/**
 * Takes the missing pieces of a blob from all sources at once. It decides nothing itself: `picker.ts` says which
 * piece, sources fetch, the blob stores.
 * @module
 */
import type { Logger } from "../log/log.ts";
import type { Bitfield } from "./bitfield.ts";
import { BufferPool } from "./buffer-pool.ts";
import { BlobError } from "./errors.ts";
import { Flights, type PieceFlight } from "./flights.ts";
import type { Layout } from "./layout.ts";
import type { RateLimiter } from "./limiter.ts";
import type { BlobChange, LiveBlob, SourceKind } from "./live-blob.ts";
import type { Neighbour } from "./neighbours.ts";
import { Pace, smoothed } from "./pace.ts";
import { isEndgame, isHopeless, isLate, type Lateness, pickPiece } from "./picker.ts";
import { sameHash } from "./piece-hashes.ts";
import { type PieceChoice, PieceRequest, type RequestOffice } from "./piece-request.ts";
import type { RequestLimits } from "./request-limits.ts";
import { type SourceState, SourceStates } from "./source-states.ts";
import { type FetchedPiece, type PieceSource, type SourceChange, SourceError } from "./sources/source.ts";
import { turnOf, urgentPieces, wantedPiece } from "./urgency.ts";

/** Of buffers that wait for their next piece: as many as a window of small pieces, few large ones. */
const IDLE_BYTES = 16 * 1024 * 1024;
/** How often lateness is looked at while pieces are under way, ms. */
const TICK = 50;
/** A request under way for so long, ms, must have brought bytes at this rate, bytes/s, or its source is left. */
const TOO_SLOW = { afterMs: 10_000, rate: 16 * 1024 };
/** Failures after which a source is left... */
const MAX_FAILURES = 3;
/** ...of which each answer makes so much good: one that fails every other time is left too. */
const FORGIVEN = 0.5;
/** Requests at peers for late pieces, beyond the window. */
const LATE_ROOM = 2;
/** Fewer bytes than these are no progress: a source that sends a byte now and then must not keep the origin away. */
export const TRICKLE = 16 * 1024;

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

/** What all sources are asked by at one moment. */
interface Moment {
  /** Monotonic ms. */
  readonly now: number;
  readonly limits: RequestLimits;
  /** Pieces that readers wait for. */
  readonly urgent: readonly number[];
  /** A late piece of which only those tell that are asked for it: a seeder may be asked beyond its limit. */
  readonly alone: number | undefined;
}

/** See the module. Add sources at any time; `run` ends when the blob has all pieces, failed, or the signal aborts. */
export class Download {
  readonly #init: DownloadInit;
  readonly #blob: LiveBlob;
  readonly #layout: Layout;
  readonly #buffers: BufferPool;
  readonly #sources: SourceStates;
  readonly #flights = new Flights();
  readonly #pace = new Pace();
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #downloads: Set<unknown>;
  readonly #office: RequestOffice;
  #limits = this.#pace.limits({ peers: 0 });
  #ended = false;
  /** Something changed in this turn: the sources are asked at its end. */
  #isDue = false;
  readonly #onDue = () => {
    this.#isDue = false;
    this.#askAll();
  };
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lastProgress: number;
  readonly #deliveredAt = new Map<SourceKind, number>();
  #trickle = 0;
  /** Bytes taken from the host's limit for the next request, which is chosen then; 0: none yet. */
  #paid = 0;
  /** It waits at the host's limit. */
  #isPaying = false;
  readonly #gone = new AbortController();

  /** The blob's layout must be known. */
  constructor(init: DownloadInit) {
    if (!init.blob.layout) throw new BlobError("unavailable", "a download needs the blob's layout");
    this.#init = init;
    this.#blob = init.blob;
    this.#layout = init.blob.layout;
    const { pieceLength, count } = this.#layout;
    this.#buffers = new BufferPool(pieceLength, Math.floor(IDLE_BYTES / pieceLength));
    this.#sources = new SourceStates(count);
    this.#downloads = init.downloads ?? new Set();
    this.#now = init.now ?? (() => performance.now());
    this.#random = init.random ?? Math.random;
    this.#lastProgress = this.#now();
    this.#office = {
      blob: this.#blob,
      layout: this.#layout,
      buffers: this.#buffers,
      flights: this.#flights,
      now: this.#now,
      onBytes: (bytes, now) => this.#onBytes(bytes, now),
      onAnswer: (ms) => this.#pace.answered(ms),
    };
  }

  /** Monotonic ms when bytes worth the name arrived last; now, while nothing but the host's limit is waited for. */
  get lastProgress(): number {
    return this.#isPaying && this.#flights.byPiece.size === 0 ? this.#now() : this.#lastProgress;
  }
  /** Monotonic ms when the latest piece came from a source of this kind; 0 before the first. */
  deliveredAt(kind: SourceKind): number {
    return this.#deliveredAt.get(kind) ?? 0;
  }
  get sourceCount(): number {
    return this.#sources.all.length;
  }
  /** Sources that said to have at least one piece, and those that choose. */
  get usefulSources(): number {
    return this.#sources.useful;
  }
  /** Of these those that do not choose. */
  get usefulPeers(): number {
    return this.#sources.usefulPeers;
  }

  /** Median ms of the latest pieces; undefined before the first. */
  get medianMs(): number | undefined {
    return this.#pace.medianMs;
  }

  /** The peers among the sources, by their names, as `neighbours.ts` looks at them. */
  neighbours(): Neighbour<string>[] {
    return this.#sources.neighbours(this.#flights.all(), this.#blob.covered);
  }

  add(source: PieceSource): void {
    if (this.#ended || this.#blob.have?.full) {
      source.close();
      return;
    }
    this.#sources.add(source, this.#now());
    source.start((change) => this.#onSourceChange(source, change));
    this.#schedule();
  }

  /** The source of a name. */
  find(name: string): PieceSource | undefined {
    return this.#sources.find(name);
  }

  /** Leaves a source; its requests are given up. */
  remove(source: PieceSource, error: SourceError): void {
    if (!this.#sources.remove(source)) return;
    this.#init.onLeave?.(source, error);
    this.#schedule();
  }

  /** @throws BlobError when the blob fails; the signal's reason when it aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const unsubscribe = this.#blob.subscribe((change) => this.#onBlobChange(change));
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
    this.#ended = true;
    this.#downloads.delete(this);
    clearTimeout(this.#timer);
    this.#gone.abort();
    this.#sources.clear();
  }

  #onBlobChange(change: BlobChange): void {
    if (change.type === "piece") this.#onPiece(change.piece);
    else if (change.type === "hashes" || change.type === "demand") this.#schedule();
    else if (change.type === "progress") this.#lastProgress = this.#now();
  }

  #onPiece(piece: number): void {
    let isOurs = false;
    for (const flight of this.#flights.of(piece)) {
      if (flight.arrived) isOurs = true;
      else this.#overtaken(flight);
    }
    // The end of its own request, a moment later, makes room as well.
    if (!isOurs) this.#schedule();
  }

  /** Its piece came from elsewhere. */
  #overtaken(flight: PieceFlight): void {
    const { source } = flight;
    const state = this.#sources.get(source);
    if (state && !source.trusted && isHopeless(flight, { now: this.#now(), medianMs: this.#pace.medianMs })) {
      this.#onFailure(state, new SourceError("failed", `${source.name} takes far longer than others`), false);
    }
    flight.abort.abort();
  }

  #onSourceChange(source: PieceSource, change: SourceChange): void {
    const state = this.#sources.get(source);
    if (!state) return;
    if (change.type === "gone") {
      if (change.error.code === "liar") this.#init.onLiar?.(source, change.error);
      this.remove(source, change.error);
    } else if (change.type === "added") {
      this.#sources.count(change.pieces);
      // A hundred times a second from each peer: the others have nothing new.
      if (this.#running && this.#sources.hasRoom(state, this.#limits)) this.#askOf(state, this.#moment(this.#limits));
    } else {
      this.#sources.recount();
      this.#schedule();
    }
  }

  get #running(): boolean {
    const { have, hashes, error } = this.#blob;
    return !this.#ended && have !== undefined && hashes !== undefined && !have.full && !error;
  }

  /** Asks all sources for what there is to ask, once for all that changes in this turn. */
  #schedule(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    queueMicrotask(this.#onDue);
  }

  #askAll({ isTick = false }: { isTick?: boolean } = {}): void {
    if (!this.#running) return;
    this.#limits = this.#pace.limits({
      peers: this.#sources.peers,
      downloads: Math.max(1, this.#downloads.size),
      distanceMs: this.#init.distanceMs?.(),
    });
    const alone = isTick ? this.#lateAlone(this.#now()) : undefined;
    const widest = isTick ? widened(this.#limits, { alone }) : this.#limits;
    const states = this.#sources.all;
    const from = Math.floor(this.#random() * states.length);
    let moment: Moment | undefined;
    for (let index = 0; index < states.length; index++) {
      const state = states[(from + index) % states.length]!;
      if (!this.#sources.hasRoom(state, widest)) continue;
      moment ??= this.#moment(widest, alone);
      this.#askOf(state, moment);
    }
    this.#tick();
  }

  /** @param limits Those of a tick are wider: they hold while something is late or waited for. */
  #moment(limits: RequestLimits, alone?: number): Moment {
    const now = this.#now();
    const urgent = urgentPieces(this.#blob, { now, medianMs: this.#pace.medianMs });
    const isLateRoom = limits === this.#limits || urgent.length > 0 || this.#hasLate(now);
    return { now, urgent, limits: isLateRoom ? limits : this.#limits, alone };
  }

  #askOf(state: SourceState, moment: Moment): void {
    if (state.restUntil > moment.now) return;
    while (this.#sources.hasRoom(state, moment.limits) && this.#ask(state, moment));
  }

  #hasLate(now: number): boolean {
    const state = this.#lateness(now);
    for (const flights of this.#flights.byPiece.values()) if (isLate(flights, state)) return true;
    return false;
  }

  #lateAlone(now: number): number | undefined {
    const state = this.#lateness(now);
    for (const [piece, flights] of this.#flights.byPiece) {
      const isAsked = (source: PieceSource) => flights.some((flight) => flight.source === source);
      const isElsewhere = this.#sources.all.some(({ source }) => source.pieces?.has(piece) && !isAsked(source));
      if (!isElsewhere && isLate(flights, state)) return piece;
    }
    return undefined;
  }

  #lateness(now: number): Lateness {
    const endgame = isEndgame({ have: this.#blob.covered!, flights: this.#flights.byPiece });
    return { now, medianMs: this.#pace.medianMs, endgame };
  }

  /** A source that sends a byte now and then would pass for a living one for ever. */
  #leaveTricklers(now: number): void {
    for (const flight of this.#flights.all()) {
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
    if (this.#timer !== undefined || this.#sources.all.length === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#leaveTricklers(this.#now());
      this.#askAll({ isTick: true });
    }, TICK);
  }

  /** @returns Whether a request was begun. */
  #ask(state: SourceState, moment: Moment): boolean {
    if (this.#isPaying) return false;
    const choice = this.#choose(state, moment);
    if (!choice) return false;
    if (this.#init.limiter.limited && this.#paid === 0) {
      void this.#pay();
      return false;
    }
    void this.#fetch(state, new PieceRequest(this.#office, choice));
    return true;
  }

  /** What to ask a source for; undefined: nothing now. */
  #choose({ source, requests }: SourceState, { now, urgent, alone }: Moment): PieceChoice | undefined {
    if (source.chooses) {
      const asked = this.#asked(source, now);
      if (asked.full) return undefined;
      const late = alone === undefined || asked.has(alone) ? undefined : alone;
      if (requests.size >= this.#limits.seeder && late === undefined) return undefined;
      const { medianMs } = this.#pace;
      const { availability: offered } = this.#sources;
      const want = wantedPiece(this.#blob, { now, medianMs, asked, offered }) ?? late;
      return { source, piece: undefined, asked, want };
    }
    if (!source.pieces) return undefined;
    const piece = pickPiece({
      offered: source.pieces,
      have: this.#blob.covered!,
      known: this.#blob.hashes!.known,
      flights: this.#flights.byPiece,
      availability: this.#sources.availability,
      urgent,
      medianMs: this.#pace.medianMs,
      now,
      random: this.#random,
    });
    if (piece === undefined || this.#blob.isWriting(piece)) return undefined;
    return { source, piece, asked: this.#blob.have!, want: undefined };
  }

  /**
   * Takes from the host's limit what the next request may bring, then has it chosen and sent: no source owes anything
   * while this host waits for itself, and the choice is made by what is known when it can be sent. Never rejects.
   */
  async #pay(): Promise<void> {
    const { limiter } = this.#init;
    const bytes = Math.min(this.#layout.pieceLength, this.#layout.size);
    this.#isPaying = true;
    try {
      await limiter.take(bytes, turnOf(this.#blob, this.#gone.signal));
    } catch {
      return;
    } finally {
      this.#lastProgress = this.lastProgress;
      this.#isPaying = false;
    }
    this.#paid = bytes;
    this.#askAll({ isTick: true });
    // What there was to ask for may have come meanwhile, or its source left.
    limiter.charge(-this.#paid);
    this.#paid = 0;
  }

  /** What this host has or asked for, without what is late elsewhere. */
  #asked(source: PieceSource, now: number): Bitfield {
    const asked = this.#blob.arrived!.clone();
    const state = this.#lateness(now);
    for (const [piece, flights] of this.#flights.byPiece) {
      const own = flights.some((flight) => flight.source === source);
      if (own || !isLate(flights, state)) asked.add(piece);
    }
    return asked;
  }

  /** Never rejects. */
  async #fetch(state: SourceState, request: PieceRequest): Promise<void> {
    const { limiter } = this.#init;
    const { source } = state;
    this.#sources.begin(state, request);
    const paid = this.#paid;
    this.#paid = 0;
    try {
      const fetched = await source.fetch(request);
      state.failures = Math.max(0, state.failures - FORGIVEN);
      if (fetched) await this.#store(fetched, state, request);
      else state.restUntil = this.#now() + TICK;
    } catch (error) {
      this.#onFailure(state, error, request.signal.aborted);
    } finally {
      const received = request.flight?.received ?? 0;
      this.#sources.end(state, request);
      limiter.charge(received - paid);
      if (request.flight) {
        request.end();
        this.#init.onBytes?.(source.kind, received);
      }
      this.#schedule();
    }
  }

  /** Returns the piece's buffer to the pool. */
  async #store({ piece, bytes, sha1 }: FetchedPiece, state: SourceState, request: PieceRequest): Promise<void> {
    const { source, flight } = request;
    if (flight) flight.arrived = true;
    try {
      const known = this.#blob.hashes?.get(piece);
      if (!known && source.trusted) this.#blob.addHashes(piece, sha1);
      else if (!known || !sameHash(known, sha1)) {
        throw new SourceError("other_list", `${source.name} follows another list of piece hashes`);
      }
      const now = this.#now();
      const startedAt = flight?.startedAt ?? request.startedAt;
      this.#pace.arrived({ startedAt, now });
      state.pieceMs = smoothed(state.pieceMs, now - startedAt);
      state.lastPieceAt = now;
      this.#deliveredAt.set(source.kind, now);
      await this.#blob.store(piece, bytes, source.kind);
    } finally {
      this.#buffers.give(bytes);
    }
  }

  #onBytes(bytes: number, now: number): void {
    this.#trickle += bytes;
    if (this.#trickle < TRICKLE) return;
    this.#trickle = 0;
    this.#lastProgress = now;
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

/** Limits of a tick: there is room for what is late, and for one that is late and nowhere else. */
function widened(limits: RequestLimits, { alone }: { alone: number | undefined }): RequestLimits {
  return { ...limits, window: limits.window + LATE_ROOM, seeder: limits.seeder + (alone === undefined ? 0 : 1) };
}
