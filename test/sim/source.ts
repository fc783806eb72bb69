/**
 * A peer as a host sees it that follows the peer's pieces.
 * @module
 */
import type { Neighbour } from "../../lib/bt/neighbours.ts";
import type { SimHost } from "./sim-host.ts";
import type { Transfer } from "./transfer.ts";

/** See the module. */
export class Source implements Neighbour<number> {
  readonly key: number;
  readonly zone: string;
  readonly owner: SimHost;
  readonly peer: SimHost;
  readonly since: number;
  /** Requests under way, oldest first. */
  readonly busy: Transfer[] = [];
  /** It had nothing to ask for, and nothing has changed since. */
  dry = false;
  /** The peer tells what it has. */
  following = false;
  left = false;
  pieceMs: number | undefined;
  lastPieceAt: number | undefined;
  /** Of the owner's download: at hand for a peer that tells of a piece. */
  readonly availability: Uint16Array;
  readonly haveWords: Int32Array;

  constructor(owner: SimHost, peer: SimHost, since: number) {
    this.owner = owner;
    this.peer = peer;
    this.key = peer.id;
    this.zone = peer.zone;
    this.since = since;
    this.availability = owner.download.availability;
    this.haveWords = owner.download.have.words;
  }

  get requests(): number {
    return this.busy.length;
  }

  get owingSince(): number | undefined {
    const oldest = this.busy[0];
    return oldest && oldest.progress === 0 ? oldest.startedAt : undefined;
  }

  /** Whether it has a piece that the owner lacks. */
  get useful(): boolean {
    const offered = this.peer.download.offered.words;
    for (let index = 0; index < offered.length; index++)
      if ((offered[index]! & ~this.haveWords[index]!) !== 0) return true;
    return false;
  }

  note(pieceMs: number, now: number): void {
    this.pieceMs = this.pieceMs === undefined ? pieceMs : this.pieceMs + (pieceMs - this.pieceMs) / 4;
    this.lastPieceAt = now;
  }
}
