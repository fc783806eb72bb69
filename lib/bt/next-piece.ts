/**
 * Which piece an uploader gives to a host that left the choice to it. A pure function. The piece served least goes
 * out first, so that every asker gets another one and the seeder sends each byte about once; a piece that went out
 * a moment ago is not repeated, since it is on its way through the swarm (docs/design.md, "Uploader").
 * @module
 */
import type { Bitfield } from "./bitfield.ts";

/** What the choice is made from. */
export interface NextState {
  /** What the uploader has. */
  readonly have: Bitfield;
  /** What the asker has or asked others for. */
  readonly asked: Bitfield;
  /** How often each piece was served. */
  readonly served: ArrayLike<number>;
  /** Monotonic ms when each was served last. */
  readonly servedAt: ArrayLike<number>;
  /** A piece served less than so many ms ago is not served again... */
  readonly repeatAfterMs: number;
  /** ...nor, where it may be lost, less than so many. */
  readonly lostAfterMs: number;
  mayBeLost(piece: number): boolean;
  /** Monotonic ms. */
  readonly now: number;
  /**
   * A piece the asker's reader waits for: it comes first where it is there, but is not repeated sooner than others.
   * Hosts that began together wait for the same piece, and would all get it from here instead of from each other.
   */
  readonly want?: number | undefined;
}

export type NextChoice =
  /** Serve this one. */
  | { readonly kind: "piece"; readonly piece: number }
  /** Nothing now; ask again at `at` (monotonic ms) or when another piece arrives. */
  | { readonly kind: "later"; readonly at: number | undefined }
  /** The asker has or asked for all there will be. */
  | { readonly kind: "nothing" };

export function chooseNext(state: NextState): NextChoice {
  const { have, asked, served, now } = state;
  const { want } = state;
  if (want !== undefined && have.has(want) && !asked.has(want) && !tooSoon(want, state)) {
    return { kind: "piece", piece: want };
  }
  let best: number | undefined;
  let least = Number.POSITIVE_INFINITY;
  let soonest: number | undefined;
  let open = false;
  for (let piece = 0; piece < have.length; piece++) {
    // The asker mostly has a long beginning: 32 at a time.
    while ((piece & 31) === 0 && asked.words[piece >> 5] === -1) piece += 32;
    if (piece >= have.length) break;
    if (asked.has(piece)) continue;
    open = true;
    if (!have.has(piece)) continue;
    const times = served[piece] ?? 0;
    if (times >= least) continue;
    const again = againAt(piece, state);
    if (times > 0 && again > now) {
      if (soonest === undefined || again < soonest) soonest = again;
      continue;
    }
    least = times;
    best = piece;
    if (times === 0) break;
  }
  if (best !== undefined) return { kind: "piece", piece: best };
  return open ? { kind: "later", at: soonest } : { kind: "nothing" };
}

/** Whether the piece went out a moment ago. */
function tooSoon(piece: number, state: NextState): boolean {
  return (state.served[piece] ?? 0) > 0 && againAt(piece, state) > state.now;
}

/** When a piece that was served may be served again. */
function againAt(piece: number, state: NextState): number {
  return (state.servedAt[piece] ?? 0) + (state.mayBeLost(piece) ? state.lostAfterMs : state.repeatAfterMs);
}
