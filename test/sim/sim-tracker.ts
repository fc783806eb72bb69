/**
 * A tracker: the product's pools and ordering, without its protocol.
 * @module
 */
import { choosePeers } from "../../lib/tracker/ordering.ts";
import { ZonedPool } from "../../lib/tracker/zoned-pool.ts";

/** A host in the swarm. */
interface Member {
  readonly id: number;
  readonly zone: string;
  complete: boolean;
  place: number;
}

/** See the module. */
export class SimTracker {
  readonly #members = new Map<number, Member>();
  readonly #complete = new ZonedPool<Member>();
  readonly #incomplete = new ZonedPool<Member>();
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** @returns Peers for the asker, as the product orders them. */
  announce(asker: { id: number; zone: string; complete: boolean }, numwant: number): { id: number; zone: string }[] {
    let member = this.#members.get(asker.id);
    if (member && member.complete !== asker.complete) {
      this.leave(asker.id);
      member = undefined;
    }
    if (!member) {
      member = { ...asker, place: 0 };
      member.place = this.#pool(member).add(member);
      this.#members.set(member.id, member);
    }
    return choosePeers(
      { complete: [this.#complete.zones], incomplete: [this.#incomplete.zones] },
      { zone: asker.zone, numwant, accept: (other) => other.id !== asker.id, random: this.#random },
    );
  }

  leave(id: number): void {
    const member = this.#members.get(id);
    if (!member) return;
    this.#members.delete(id);
    const moved = this.#pool(member).remove(member.zone, member.place);
    if (moved) moved.place = member.place;
  }

  #pool(member: Member): ZonedPool<Member> {
    return member.complete ? this.#complete : this.#incomplete;
  }
}
