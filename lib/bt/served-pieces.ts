/**
 * What an uploader served of one blob, and how fast that gets around among those who ask.
 * @module
 */
import { type Bitfield, inPieceOrder } from "./bitfield.ts";
import { RunningMedian } from "./median.ts";
import { setLatest } from "./set-latest.ts";

/** What an asker was sent lately stays known for so long, ms: longer than any request waits. */
const SENT_MS = 30_000;
/** Askers remembered at most, and bytes of what they told. */
const MAX_ASKERS = 4096;
const MAX_BYTES = 16 * 1024 * 1024;
/** No repeat before so many times what it takes the median piece from here to another asker. */
const REPEAT = 4;
/** A piece counts as lost when so many times what it takes the first of the others have passed and none of them told. */
const LOST = 2;
/** And when so many tellings of others have passed: where few ask, silence says little. */
const MANY = 24;
/** The no-repeat time before that is known, ms. */
const FIRST_REPEAT_MS = 1000;
/** Nor longer than this, ms: a repeat must not come after the wait for it. */
const MAX_REPEAT_MS = 7500;

interface Asker {
  readonly sent: SentPieces;
  /** When it first asked. */
  readonly since: number;
  /** What it told to have or to have asked others for. */
  readonly told: Bitfield;
}

/** See the module. Times are monotonic ms. */
export class ServedPieces {
  /** How often each piece was served. */
  readonly times: Uint32Array;
  /** When each piece was served last. */
  readonly at: Float64Array;
  readonly #askers = new Map<string, Asker>();
  readonly #maxAskers: number;
  readonly #spread = new RunningMedian(63);
  /** Ms until the first of the others told. */
  readonly #firstTold = new RunningMedian(63);
  /** 1 for each piece of which somebody else told since it was served last: it gets around. */
  readonly #toldOf: Uint8Array;
  /** How often askers told something; and how often when each piece was served last. */
  #tellings = 0;
  readonly #tellingsAt: Float64Array;

  /** @param count Pieces of the blob. */
  constructor(count: number) {
    this.times = new Uint32Array(count);
    this.at = new Float64Array(count);
    this.#toldOf = new Uint8Array(count);
    this.#tellingsAt = new Float64Array(count);
    this.#maxAskers = Math.min(MAX_ASKERS, Math.ceil((MAX_BYTES * 8) / Math.max(1, count)));
  }

  /**
   * A piece served less than so many ms ago is on its way through the swarm. How long that way is, only the swarm knows:
   * it is measured by what askers tell to have, or to have asked each other for, of pieces that others got from here.
   * Where nobody told yet, or askers do not reach each other, it is as long as a piece takes from here.
   *
   * @param pieceMs Median ms from here to an asker; undefined where that is not known either.
   */
  repeatAfterMs(pieceMs: number | undefined): number {
    const ms = this.#spread.value ?? pieceMs;
    return ms === undefined ? FIRST_REPEAT_MS : Math.min(REPEAT * ms, MAX_REPEAT_MS);
  }

  /** Whether many have told what they have since a piece was served, and none of them told of it. */
  mayBeLost(piece: number): boolean {
    return this.#toldOf[piece] === 0 && this.#tellings - this.#tellingsAt[piece]! >= MANY;
  }

  /** What `repeatAfterMs` is for a piece that may be lost: the host that got it may be gone. */
  lostAfterMs(pieceMs: number | undefined): number {
    const ms = this.#firstTold.value;
    const repeat = this.repeatAfterMs(pieceMs);
    return ms === undefined ? repeat : Math.min(repeat, LOST * Math.max(ms, pieceMs ?? 0));
  }

  /** An asker tells what it has or asked others for. */
  heard(asker: string, asked: Bitfield, now: number): void {
    const known = this.#askers.get(asker);
    if (!known) {
      this.#remember(asker, { sent: new SentPieces(), since: now, told: asked.clone() });
      return;
    }
    this.#remember(asker, known);
    this.#tellings += 1;
    for (let word = 0; word < asked.words.length; word++) {
      let fresh = inPieceOrder(asked.words[word]! & ~known.told.words[word]!);
      while (fresh !== 0) {
        const bit = Math.clz32(fresh);
        fresh &= ~(0x80000000 >>> bit);
        const piece = word * 32 + bit;
        known.told.add(piece);
        // What was served before it came it fetches late.
        if (this.times[piece]! > 0 && this.at[piece]! >= known.since && !known.sent.has(piece)) {
          this.#spread.add(now - this.at[piece]!);
          if (this.#toldOf[piece] === 0) this.#firstTold.add(now - this.at[piece]!);
          this.#toldOf[piece] = 1;
        }
      }
    }
  }

  /** A piece goes out. */
  note(piece: number, at: number, asker: string | undefined): void {
    this.times[piece]! += 1;
    this.at[piece] = at;
    this.#toldOf[piece] = 0;
    this.#tellingsAt[piece] = this.#tellings;
    if (asker !== undefined) this.#askers.get(asker)?.sent.add(piece, at);
  }

  /** It did not get there: nobody has it from here. */
  lost(piece: number, asker: string | undefined): void {
    if (this.times[piece]! > 0) this.times[piece]! -= 1;
    if (asker !== undefined) this.#askers.get(asker)?.sent.delete(piece);
  }

  /** What the asker was sent since a moment. */
  sentSince(asker: string, since: number): number[] {
    return this.#askers.get(asker)?.sent.since(since) ?? [];
  }

  /** The latest last; the oldest leave. */
  #remember(name: string, asker: Asker): void {
    setLatest(this.#askers, name, asker, this.#maxAskers);
  }
}

/** What one asker was sent lately. To add and to ask costs the same however much that is. */
class SentPieces {
  /** Oldest first. Those count that `#at` knows. */
  readonly #entries: { piece: number; at: number }[] = [];
  /** When each was sent last. */
  readonly #at = new Map<number, number>();

  has(piece: number): boolean {
    return this.#at.has(piece);
  }

  add(piece: number, at: number): void {
    this.#forget(at - SENT_MS);
    this.#entries.push({ piece, at });
    this.#at.set(piece, at);
  }

  delete(piece: number): void {
    this.#at.delete(piece);
  }

  /** The latest first. */
  since(moment: number): number[] {
    const pieces: number[] = [];
    for (let index = this.#entries.length - 1; index >= 0 && this.#entries[index]!.at >= moment; index--) {
      const { piece, at } = this.#entries[index]!;
      if (this.#at.get(piece) === at) pieces.push(piece);
    }
    return pieces;
  }

  #forget(until: number): void {
    for (let oldest = this.#entries[0]; oldest && oldest.at <= until; oldest = this.#entries[0]) {
      this.#entries.shift();
      // It may have been sent again since.
      if (this.#at.get(oldest.piece) === oldest.at) this.#at.delete(oldest.piece);
    }
  }
}
