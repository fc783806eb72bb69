/**
 * Which blobs and pieces readers wait for.
 * @module
 */
import type { Bitfield } from "./bitfield.ts";
import type { Turn } from "./limiter.ts";
import type { LiveBlob } from "./live-blob.ts";

/** Pieces of one reader that may be hurried at once. */
const AHEAD = 4;
/** A reader of a small range is hurried from its first moment. */
const SMALL_RANGE = 8;
/** A reader that follows the download is hurried when it waited for so many median piece times... */
const PATIENCE = 3;
/** ...and after so many has from the seeder what peers have too. */
const LONG_PATIENCE = 12;

type Readers = Pick<LiveBlob, "layout" | "have" | "demands">;

interface Urgency {
  /** Monotonic ms. */
  readonly now: number;
  /** Median ms of a piece; undefined before the first. */
  readonly medianMs: number | undefined;
  /** Median piece times that a reader waits. */
  readonly patience?: number;
}

/** Whose turn it is at the host's limit when bytes of a blob come: one that a reader waits for goes before others. */
export function turnOf({ id, demands }: Pick<LiveBlob, "id" | "demands">, signal: AbortSignal): Required<Turn> {
  const urgent = () => {
    for (const { waitingSince } of demands) if (waitingSince !== undefined) return true;
    return false;
  };
  return { key: id, urgent, signal };
}

/**
 * The piece to ask a seeder for by name. One that a peer offers comes from there before long, and a seeder should send
 * each piece about once.
 *
 * @param state.asked What is here or asked for.
 * @param state.offered How many peers offer each piece.
 */
export function wantedPiece(
  blob: Readers,
  { asked, offered, ...state }: Urgency & { readonly asked: Bitfield; readonly offered: ArrayLike<number> },
): number | undefined {
  const alone = urgentPieces(blob, state).find((piece) => !asked.has(piece) && !offered[piece]);
  if (alone !== undefined) return alone;
  return urgentPieces(blob, { ...state, patience: LONG_PATIENCE }).find((piece) => !asked.has(piece));
}

/** @returns Missing pieces that readers wait for, the most urgent first. */
export function urgentPieces(blob: Readers, state: Urgency): number[] {
  const { layout, have } = blob;
  if (!layout || !have || blob.demands.size === 0) return [];
  const patienceMs = (state.patience ?? PATIENCE) * (state.medianMs ?? 100);
  const pieces: number[] = [];
  for (const demand of blob.demands) {
    if (demand.waitingSince === undefined || demand.position >= demand.end) continue;
    const first = layout.pieceAt(demand.position);
    const last = layout.pieceAt(demand.end - 1);
    const small = last - first < SMALL_RANGE && !(first === 0 && last === layout.count - 1);
    if (!small && state.now - demand.waitingSince < patienceMs) continue;
    for (let piece = first; piece <= last && piece < first + (small ? SMALL_RANGE : AHEAD); piece++) {
      if (!have.has(piece) && !pieces.includes(piece)) pieces.push(piece);
    }
  }
  return pieces;
}
