/**
 * What an uploader served of one blob.
 * @module
 */

/** What an asker was sent lately stays known for so long, ms: longer than any request waits. */
const SENT_MS = 30_000;
/** Askers remembered. */
const MAX_ASKERS = 4096;

/** See the module. Times are monotonic ms. */
export class ServedPieces {
  /** How often each piece was served. */
  readonly times: Uint32Array;
  /** When each piece was served last. */
  readonly at: Float64Array;
  /** By asker: pieces and when they were sent, oldest first. */
  readonly #sent = new Map<string, { piece: number; at: number }[]>();

  /** @param count Pieces of the blob. */
  constructor(count: number) {
    this.times = new Uint32Array(count);
    this.at = new Float64Array(count);
  }

  note(piece: number, at: number, asker: string | undefined): void {
    this.times[piece]! += 1;
    this.at[piece] = at;
    if (asker === undefined) return;
    const list = (this.#sent.get(asker) ?? []).filter((entry) => at - entry.at < SENT_MS);
    list.push({ piece, at });
    this.#sent.delete(asker);
    this.#sent.set(asker, list);
    for (const oldest of this.#sent.keys()) {
      if (this.#sent.size <= MAX_ASKERS) break;
      this.#sent.delete(oldest);
    }
  }

  /** What the asker was sent since a moment. */
  sentSince(asker: string, since: number): number[] {
    const list = this.#sent.get(asker) ?? [];
    const pieces: number[] = [];
    for (let index = list.length - 1; index >= 0 && list[index]!.at >= since; index--) pieces.push(list[index]!.piece);
    return pieces;
  }
}
