/**
 * The pieces of a download that are under way, from whom, and how far they are.
 * @module
 */
import type { Flight } from "./picker.ts";
import type { PieceSource } from "./sources/source.ts";

/** A piece on its way from one source. */
export interface PieceFlight extends Flight {
  readonly source: PieceSource;
  progress: number;
  heardAt: number | undefined;
  /** Bytes. */
  received: number;
  /** It brought the piece, which is being stored. */
  arrived: boolean;
  /** Gives its request up. */
  readonly abort: AbortController;
}

/** See the module. A piece may be on its way from several sources. */
export class Flights {
  readonly #byPiece = new Map<number, PieceFlight[]>();

  /** By piece; a piece without flights is not in it. Live. */
  get byPiece(): ReadonlyMap<number, readonly PieceFlight[]> {
    return this.#byPiece;
  }

  takeOff(flight: PieceFlight): void {
    const others = this.#byPiece.get(flight.piece);
    if (others) others.push(flight);
    else this.#byPiece.set(flight.piece, [flight]);
  }

  land(flight: PieceFlight): void {
    const flights = this.#byPiece.get(flight.piece);
    const index = flights?.indexOf(flight) ?? -1;
    if (index < 0) return;
    if (flights!.length === 1) this.#byPiece.delete(flight.piece);
    else flights!.splice(index, 1);
  }

  /** Those of one piece. Live. */
  of(piece: number): readonly PieceFlight[] {
    return this.#byPiece.get(piece) ?? NONE;
  }

  /** All of them, as they are now. */
  all(): PieceFlight[] {
    return [...this.#byPiece.values()].flat();
  }
}

const NONE: readonly PieceFlight[] = [];
