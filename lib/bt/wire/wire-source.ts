/**
 * One peer of the standard BitTorrent wire as a source of pieces. A piece comes from one peer alone, so that who lies
 * is known by the first piece that fails its hash.
 * @module
 */
import { createHash } from "node:crypto";
import type { Wire } from "webtorrent";
import { Bitfield } from "../bitfield.ts";
import type { Layout } from "../layout.ts";
import { sameHash } from "../piece-hashes.ts";
import {
  type FetchedPiece,
  type PieceAsk,
  type PieceSource,
  type SourceChange,
  SourceError,
} from "../sources/source.ts";

/** What clients ask for at once; some refuse more. */
const BLOCK = 16 * 1024;
/** Blocks asked for ahead, for one piece: 1 MiB is a Gbit/s at 8 ms. */
const AHEAD = 64;

export interface WireSourceInit {
  readonly wire: Wire;
  /** Address and port. */
  readonly name: string;
  readonly layout: Layout;
  /** It sent a piece that fails its hash. */
  onLiar(): void;
}

/** See the module. Closing it leaves the connection alone: the other side may go on to download. */
export class WireSource implements PieceSource {
  readonly name: string;
  readonly kind = "wire";
  readonly chooses = false;
  readonly trusted = false;
  /** The next piece is asked for before the one under way is there, or the line would rest for a round trip. */
  readonly depth = 2;
  readonly #init: WireSourceInit;
  #pieces: Bitfield | undefined;
  #onChange: (change: SourceChange) => void = () => {};
  #closed = false;

  constructor(init: WireSourceInit) {
    this.#init = init;
    this.name = init.name;
  }

  get pieces(): Bitfield | undefined {
    return this.#pieces;
  }

  start(onChange: (change: SourceChange) => void): void {
    this.#onChange = onChange;
    this.#closed = false;
    const { wire } = this.#init;
    for (const event of ["bitfield", "have-all", "have-none", "choke", "unchoke"]) wire.on(event, this.#look);
    wire.on("have", this.#onHave);
    wire.once("close", this.#onClose);
    this.#look();
  }

  async fetch(ask: PieceAsk): Promise<FetchedPiece | undefined> {
    const piece = ask.piece!;
    const expected = ask.expected(piece);
    if (!expected) return undefined;
    const buffer = ask.buffer(piece);
    let kept = false;
    try {
      if (!(await this.#read(ask, piece, buffer))) return undefined;
      const sha1 = createHash("sha1").update(buffer).digest();
      if (!sameHash(sha1, expected)) {
        this.#init.onLiar();
        throw new SourceError("liar", `${this.name} sent a piece ${piece} that fails its hash`);
      }
      kept = true;
      return { piece, bytes: buffer, sha1 };
    } finally {
      if (!kept) ask.release(buffer);
    }
  }

  close(): void {
    this.#closed = true;
    const { wire } = this.#init;
    for (const event of ["bitfield", "have-all", "have-none", "choke", "unchoke"]) wire.off(event, this.#look);
    wire.off("have", this.#onHave);
    wire.off("close", this.#onClose);
  }

  /** Asks for the piece's blocks, some ahead. @returns Whether all came; not when the peer chokes meanwhile. */
  #read(ask: PieceAsk, piece: number, buffer: Uint8Array): Promise<boolean> {
    const { wire, layout } = this.#init;
    const length = layout.length(piece);
    const ahead = this.#ahead();
    const open = new Set<number>();
    let next = 0;
    return new Promise((resolve, reject) => {
      let done = false;
      const end = (result: boolean | SourceError) => {
        if (done) return;
        done = true;
        ask.signal.removeEventListener("abort", onAbort);
        for (const offset of [...open]) wire.cancel(piece, offset, Math.min(BLOCK, length - offset));
        if (typeof result === "boolean") resolve(result);
        else reject(result);
      };
      const onAbort = () => end(new SourceError("aborted", "the request was given up"));
      const request = (offset: number) => {
        open.add(offset);
        wire.request(piece, offset, Math.min(BLOCK, length - offset), (error, block) => {
          open.delete(offset);
          if (done) return;
          if (error || !block) {
            end(
              wire.peerChoking && !wire.destroyed
                ? false
                : new SourceError("failed", `${this.name}: ${error?.message ?? "no block"}`),
            );
            return;
          }
          buffer.set(block, offset);
          ask.onBytes(piece, block.length);
          if (next < length) more();
          else if (open.size === 0) end(true);
        });
      };
      const more = () => {
        while (!done && next < length && open.size < ahead) {
          const offset = next;
          next += BLOCK;
          request(offset);
        }
      };
      if (ask.signal.aborted) return onAbort();
      ask.signal.addEventListener("abort", onAbort, { once: true });
      more();
    });
  }

  /** Both pieces under way share what the peer takes (BEP 10, `reqq`). */
  #ahead(): number {
    const reqq = Number(this.#init.wire.peerExtendedHandshake.reqq);
    return reqq >= 2 ? Math.min(AHEAD, Math.floor(reqq / 2)) : AHEAD;
  }

  /** What can be had now: nothing while the peer chokes. */
  readonly #look = (): void => {
    const { wire, layout } = this.#init;
    const pieces = new Bitfield(layout.count);
    if (!wire.peerChoking) {
      for (let piece = 0; piece < layout.count; piece++) if (wire.peerPieces.get(piece)) pieces.add(piece);
    }
    this.#pieces = pieces;
    this.#onChange({ type: "reset" });
  };

  readonly #onHave = (piece: number): void => {
    if (this.#init.wire.peerChoking || !this.#pieces?.add(piece)) return;
    this.#onChange({ type: "added", pieces: [piece] });
  };

  readonly #onClose = (): void => {
    if (!this.#closed) this.#onChange({ type: "gone", error: new SourceError("gone", `${this.name} left`) });
  };
}
