/**
 * A peer as a download sees it.
 * @module
 */
import type { SimHost } from "./sim-host.ts";
import type { Transfer } from "./transfer.ts";

/** A peer whose pieces a host follows. */
export class Source {
  readonly key: number;
  readonly zone: string;
  readonly peer: SimHost;
  readonly owner: SimHost;
  readonly since: number;
  /** Of the owner: at hand for those who tell of new pieces. */
  readonly availability: Uint16Array;
  readonly haveWords: Int32Array;
  /** Requests under way. */
  busy: Transfer[] = [];
  /** It had nothing to ask for, and nothing has changed since. */
  dry = false;
  left = false;
  /** The peer tells what it has. */
  following = false;
  pieceMs: number | undefined;
  lastPieceAt: number | undefined;

  constructor(owner: SimHost, peer: SimHost, since: number) {
    this.owner = owner;
    this.peer = peer;
    this.key = peer.id;
    this.zone = peer.zone;
    this.since = since;
    this.availability = owner.availability;
    this.haveWords = owner.have.words;
  }

  get owingSince(): number | undefined {
    const oldest = this.busy[0];
    return oldest && oldest.progress === 0 ? oldest.startedAt : undefined;
  }

  /** Pieces it has that the owner lacks: at least whether there is one. */
  get useful(): number {
    const offered = this.peer.offered.words;
    const have = this.owner.have.words;
    for (let index = 0; index < offered.length; index++) if ((offered[index]! & ~have[index]!) !== 0) return 1;
    return 0;
  }

  note(pieceMs: number, now: number): void {
    this.pieceMs = this.pieceMs === undefined ? pieceMs : this.pieceMs * 0.7 + pieceMs * 0.3;
    this.lastPieceAt = now;
  }
}
