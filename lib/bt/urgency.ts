/**
 * Which pieces readers wait for.
 * @module
 */
import type { LiveBlob } from "./live-blob.ts";

/** Pieces of one reader that may be hurried at once. */
const AHEAD = 4;
/** A reader of a small range is hurried from its first moment. */
const SMALL_RANGE = 8;

/**
 * @param state.medianMs Median ms of a piece; a reader that follows the download is hurried after three of them.
 * @returns Missing pieces, the most urgent first.
 */
export function urgentPieces(
  blob: Pick<LiveBlob, "layout" | "have" | "demands">,
  state: { now: number; medianMs: number | undefined },
): number[] {
  const { layout, have } = blob;
  if (!layout || !have || blob.demands.size === 0) return [];
  const patience = 3 * (state.medianMs ?? 100);
  const pieces: number[] = [];
  for (const demand of blob.demands) {
    if (demand.waitingSince === undefined || demand.position >= demand.end) continue;
    const first = layout.pieceAt(demand.position);
    const last = layout.pieceAt(demand.end - 1);
    const small = last - first < SMALL_RANGE && !(first === 0 && last === layout.count - 1);
    if (!small && state.now - demand.waitingSince < patience) continue;
    for (let piece = first; piece <= last && piece < first + (small ? SMALL_RANGE : AHEAD); piece++) {
      if (!have.has(piece) && !pieces.includes(piece)) pieces.push(piece);
    }
  }
  return pieces;
}
