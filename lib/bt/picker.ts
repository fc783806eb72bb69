/**
 * Which piece to ask a source for. A pure function of what is known: the product, its tests and the simulator run
 * the same code. Rarest first with ties broken at random spreads pieces, and every other choice is the earliest, so that
 * bodies and digests follow the download; what a reader waits for comes before both; the endgame asks a second source
 * for a piece that is late by the swarm's own measure (docs/design.md, "How pieces are chosen").
 * @module
 */
import { type Bitfield, inPieceOrder } from "./bitfield.ts";

/** A request under way. */
export interface Flight {
  readonly piece: number;
  /** Monotonic ms. */
  readonly startedAt: number;
  /** Share of the piece that arrived, 0 to 1. */
  readonly progress: number;
  /** When its latest byte came, monotonic ms. @default now, where any has come */
  readonly heardAt?: number | undefined;
}

/** What the choice is made from. */
export interface PickState {
  /** What the source has. */
  readonly offered: Bitfield;
  /** What this host has. */
  readonly have: Bitfield;
  /** Pieces whose hash is known: no other can be checked. */
  readonly known: Bitfield;
  /** Requests under way, by piece. */
  readonly flights: ReadonlyMap<number, readonly Flight[]>;
  /** How many sources offer each piece. */
  readonly availability: ArrayLike<number>;
  /** Pieces readers wait for, most urgent first. */
  readonly urgent: readonly number[];
  /** Median ms of the latest pieces; undefined before the first. */
  readonly medianMs: number | undefined;
  /** Monotonic ms. */
  readonly now: number;
  /** Uniform in [0, 1). */
  random(): number;
}

/**
 * So many choices in all are of the earliest piece instead of the rarest. By rarity alone a body hardly moves before the
 * end, and then a host hashes and sends most of a blob at once; in order alone all hosts want the same pieces.
 */
const EARLY = 0.5;
/** A piece is late when it takes this many median piece times. */
const LATE = 2.5;
/** But never before this, ms: on a fast line the median is shorter than the hiccups of a busy host. */
const LATE_LEAST_MS = 100;
/** A piece further in than this is not asked for again: its rest comes sooner than a copy. */
const FAR_IN = 0.6;
/** Nor, but in the endgame, one whose rest comes in so many times of being late: a copy costs more of the line than it wins. */
const REST = 4;
/** At most so many requests for one piece... */
const MAX_COPIES = 2;
/** ...but those that bring no byte for so many median piece times are to hosts that are gone, and do not count... */
const SILENT = 5;
/** ...nor do those that have begun and bring no more for so long, ms, however far in they are... */
const STALLED_LEAST_MS = 1000;
/** ...up to so many. */
const MAX_REQUESTS = 6;
/**
 * A source that would have taken so many median piece times for a piece that came from elsewhere meanwhile has failed.
 * Far more than the hiccups of a busy host, whose first bytes may be late as well.
 */
const HOPELESS = 64;
/** Before any piece has come nobody knows how long one takes: one that brings no byte for so long is late, ms. */
const FIRST_MS = 500;

/** @returns The piece to ask for; undefined when the source has nothing worth asking for now. */
export function pickPiece(state: PickState): number | undefined {
  const { offered, have, known, flights } = state;
  for (const piece of state.urgent) {
    if (!offered.has(piece) || have.has(piece) || !known.has(piece)) continue;
    const under = flights.get(piece);
    if (!under || isLate(under, latenessOf(state))) return piece;
  }
  return fresh(state) ?? latest(state);
}

function latenessOf(state: PickState): Lateness {
  return { medianMs: state.medianMs, now: state.now, endgame: isEndgame(state) };
}

/**
 * The earliest or the rarest piece that nobody was asked for.
 * Looks at 32 pieces at a time, and at single ones only where there is something to choose.
 */
function fresh(state: PickState): number | undefined {
  const { flights, availability } = state;
  const offered = state.offered.words;
  const have = state.have.words;
  const known = state.known.words;
  let isEarly: boolean | undefined;
  let best: number | undefined;
  let rarity = Number.POSITIVE_INFINITY;
  let ties = 0;
  for (let index = 0; index < offered.length; index++) {
    const open = offered[index]! & known[index]! & ~have[index]!;
    if (open === 0) continue;
    for (let bits = inPieceOrder(open); bits !== 0; ) {
      const bit = Math.clz32(bits);
      bits &= ~(0x80000000 >>> bit);
      const piece = index * 32 + bit;
      const sources = availability[piece] ?? 0;
      if (sources > rarity || flights.has(piece)) continue;
      isEarly ??= state.random() < EARLY;
      if (isEarly) return piece;
      ties = sources < rarity ? 1 : ties + 1;
      rarity = sources;
      if (ties === 1 || state.random() * ties < 1) best = piece;
    }
  }
  return best;
}

function latest(state: PickState): number | undefined {
  const { offered, have, known } = state;
  const lateness = latenessOf(state);
  let best: number | undefined;
  let oldest = Number.POSITIVE_INFINITY;
  for (const [piece, under] of state.flights) {
    if (!offered.has(piece) || have.has(piece) || !known.has(piece)) continue;
    const started = under[0]!.startedAt;
    if (started >= oldest || !isLate(under, lateness)) continue;
    oldest = started;
    best = piece;
  }
  return best;
}

/** What lateness is judged by. */
export interface Lateness extends Pick<PickState, "medianMs" | "now"> {
  /** Nothing else is left to ask for: the time of the slowest piece is that of the blob. @default false */
  readonly endgame?: boolean;
}

/** Whether all pieces that are missing are under way. */
export function isEndgame({ have, flights }: Pick<PickState, "have" | "flights">): boolean {
  return have.count + flights.size >= have.length;
}

/** Whether a piece under way deserves another request. */
export function isLate(under: readonly Flight[], { medianMs, now, endgame = false }: Lateness): boolean {
  if (under.length === 0) return true;
  if (medianMs === undefined) {
    return under.length < MAX_COPIES && under.every((flight) => quietMs(flight, now) > FIRST_MS);
  }
  if (under.length >= MAX_REQUESTS) return false;
  const lateMs = lateAfterMs(medianMs);
  const silentMs = (lateMs * SILENT) / LATE;
  let copies = 0;
  for (const flight of under) {
    const { startedAt, progress } = flight;
    if (quietMs(flight, now) > (progress > 0 ? Math.max(silentMs, STALLED_LEAST_MS) : silentMs)) continue;
    const ms = now - startedAt;
    if (ms <= lateMs || progress >= FAR_IN) return false;
    if (!endgame && progress > 0 && (ms / progress) * (1 - progress) < REST * lateMs) return false;
    copies += 1;
  }
  return copies < MAX_COPIES;
}

/**
 * Whether a request was worth nothing: its piece came from elsewhere first, and trickled from here. Those that are silent
 * are `neighbours.ts`'s affair.
 */
export function isHopeless(
  { startedAt, progress }: Flight,
  { medianMs, now }: Pick<Lateness, "medianMs" | "now">,
): boolean {
  if (medianMs === undefined) return false;
  const ms = now - startedAt;
  return progress > 0 && ms > lateAfterMs(medianMs) && ms > HOPELESS * medianMs * progress;
}

function lateAfterMs(medianMs: number): number {
  return Math.max(LATE_LEAST_MS, LATE * medianMs);
}

/** Since when it brings nothing, ms. */
function quietMs({ startedAt, progress, heardAt = progress > 0 ? undefined : startedAt }: Flight, now: number): number {
  return heardAt === undefined ? 0 : now - heardAt;
}
