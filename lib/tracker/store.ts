/**
 * @module What a tracker remembers, as an interface: swarms of announcing peers, and what each host holds.
 *
 * A blob's K1 swarm has both kinds of members: hosts that are fetching announce themselves, hosts that hold it are known
 * by their heartbeats. Whoever asks gets both.
 */

/** A peer as others are told of it. */
export interface StoredPeer {
  /** 40 hex digits. */
  readonly peerId: string;
  /** Canonical text, see `canonicalIp`. */
  readonly ip: string;
  readonly port: number;
  /** "" when it named none. */
  readonly zone: string;
}

/** One announce, checked. */
export interface StoreAnnounce {
  /** 40 hex digits; before them `closed:` for a swarm that only the cluster's own parts are in. */
  readonly key: string;
  readonly peer: StoredPeer;
  /** Takes the peer out of the swarm, at once. */
  readonly stopped: boolean;
  /** It holds the whole blob. */
  readonly complete: boolean;
  /** Forget it unless it announces again within so long, ms. */
  readonly ttlMs: number;
  /** Bounded by the caller. */
  readonly numwant: number;
}

/** How many members a swarm has. A host that announces and holds counts once. */
export interface SwarmCounts {
  readonly complete: number;
  readonly incomplete: number;
}

/** The answer to an announce: counts after it, and peers in the order of `ordering.ts`, never the asker. */
export interface SwarmView extends SwarmCounts {
  readonly peers: readonly StoredPeer[];
}

/** One heartbeat, checked. */
export interface StoreHoldings {
  readonly peer: StoredPeer;
  readonly epoch: string;
  readonly seq: number;
  readonly leaseMs: number;
  /** Swarm keys, as in announces. */
  readonly add: readonly string[];
  readonly remove: readonly string[];
  readonly full: boolean;
  readonly stopped: boolean;
}

/** How much is remembered. */
export interface StoreSizes {
  readonly swarms: number;
  /** Members by announce. */
  readonly announced: number;
  readonly hosts: number;
  /** Pairs of host and blob. */
  readonly holdings: number;
}

/** Swarms and holdings. Every method may be called at any time, in any order. */
export interface SwarmStore {
  /** @throws TrackerError `full` */
  announce(announce: StoreAnnounce): Promise<SwarmView>;
  /** Counts of the given swarms, in their order; zeros for unknown ones. */
  scrape(keys: readonly string[]): Promise<SwarmCounts[]>;
  /** @throws TrackerError `full` */
  holdings(holdings: StoreHoldings): Promise<{ resync: boolean }>;
  sizes(): Promise<StoreSizes>;
  close(): Promise<void>;
}
