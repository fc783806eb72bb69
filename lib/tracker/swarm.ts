/**
 * @module One swarm in memory: peers that announced, and hosts that hold the blob.
 *
 * A host that is known to hold the blob is offered as such; its own announce stays remembered but is not offered beside
 * it. So every host is counted and handed out once.
 */
import { hostPort } from "./address.ts";
import { type Choice, choosePeers } from "./ordering.ts";
import type { StoredPeer, SwarmCounts } from "./store.ts";
import { ZonedPool } from "./zoned-pool.ts";

/** A host with its holdings: each swarm it is a holder in, and its place there. */
export interface Host extends StoredPeer {
  readonly address: string;
  readonly epoch: string;
  seq: number;
  leaseEnds: number;
  readonly holdings: Map<Swarm, number>;
}

/** A peer in one swarm, by its announce. */
export interface Announcer {
  readonly swarm: Swarm;
  readonly address: string;
  readonly zone: string;
  peer: StoredPeer;
  complete: boolean;
  ttlMs: number;
  expires: number;
  /** Where it is offered from; `undefined` while it is offered as a holder. */
  pool: ZonedPool<Announcer> | undefined;
  place: number;
}

/** What a peer says of itself. */
export interface PeerAnnounce extends Pick<Announcer, "peer" | "complete" | "ttlMs" | "expires"> {
  readonly holder: boolean;
}

/** Members of one swarm. */
export class Swarm {
  readonly key: string;
  readonly #announcers = new Map<string, Announcer>();
  readonly #complete = new ZonedPool<Announcer>();
  readonly #incomplete = new ZonedPool<Announcer>();
  readonly #holders = new ZonedPool<Host>();

  constructor(key: string) {
    this.key = key;
  }

  get empty(): boolean {
    return this.#announcers.size === 0 && this.#holders.size === 0;
  }

  get counts(): SwarmCounts {
    return { complete: this.#holders.size + this.#complete.size, incomplete: this.#incomplete.size };
  }

  announcer(address: string): Announcer | undefined {
    return this.#announcers.get(address);
  }

  /** Adds a peer, or takes what it says now. `holder`: it is among the hosts that hold the blob. */
  announce({ peer, complete, ttlMs, expires, holder }: PeerAnnounce): Announcer {
    const address = hostPort(peer.ip, peer.port);
    let announcer = this.#announcers.get(address);
    // Under another zone it is another one: its place is looked up by zone.
    if (announcer !== undefined && announcer.zone !== peer.zone) {
      this.leave(announcer);
      announcer = undefined;
    }
    if (announcer === undefined) {
      announcer = { swarm: this, address, zone: peer.zone, peer, complete, ttlMs, expires, pool: undefined, place: 0 };
      this.#announcers.set(address, announcer);
    } else {
      Object.assign(announcer, { peer, complete, ttlMs, expires });
    }
    this.#place(announcer, holder);
    return announcer;
  }

  leave(announcer: Announcer): void {
    this.#place(announcer, true);
    this.#announcers.delete(announcer.address);
  }

  hold(host: Host): void {
    if (host.holdings.has(this)) return;
    host.holdings.set(this, this.#holders.add(host));
    const announcer = this.#announcers.get(host.address);
    if (announcer !== undefined) this.#place(announcer, true);
  }

  drop(host: Host): void {
    const place = host.holdings.get(this);
    if (place === undefined) return;
    host.holdings.delete(this);
    this.#holders.remove(host.zone, place)?.holdings.set(this, place);
    const announcer = this.#announcers.get(host.address);
    if (announcer !== undefined) this.#place(announcer, false);
  }

  choose(choice: Choice<StoredPeer>): StoredPeer[] {
    const chosen = choosePeers<Host | Announcer>(
      { complete: [this.#holders.zones, this.#complete.zones], incomplete: [this.#incomplete.zones] },
      { ...choice, accept: (member) => choice.accept("peer" in member ? member.peer : member) },
    );
    return chosen.map((member) => ("peer" in member ? member.peer : member));
  }

  /** Offers the announcer where it belongs, or nowhere when it is hidden. */
  #place(announcer: Announcer, hidden: boolean): void {
    const pool = hidden ? undefined : announcer.complete ? this.#complete : this.#incomplete;
    if (pool === announcer.pool) return;
    const moved = announcer.pool?.remove(announcer.zone, announcer.place);
    if (moved !== undefined) moved.place = announcer.place;
    announcer.pool = pool;
    if (pool !== undefined) announcer.place = pool.add(announcer);
  }
}
