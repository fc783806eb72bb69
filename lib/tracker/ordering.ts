/**
 * @module Which peers an asker gets, and in which order. Pure: no clock, no state, randomness given.
 *
 * Same zone first, then complete, then random: four classes, one after the other. Within a class every peer is as likely
 * as any other, so load spreads. No class takes all places where a later one has members: a zone that heard of itself
 * alone would get from outside only what the seeder sends into it, and hosts that heard of the few complete ones alone
 * would all wait for these and not exchange what they have (the simulator in test/sim shows both). The work grows with
 * the number wanted, not with the swarm.
 */

/** Peers under the zone they are in; "" when a peer named none. */
export type ZonedPeers<T> = ReadonlyMap<string, readonly T[]>;

/** What an answer is chosen from. */
export interface Candidates<T> {
  /** Peers that hold the whole blob; several maps, because trackers learn of them in several ways. */
  readonly complete: readonly ZonedPeers<T>[];
  readonly incomplete: readonly ZonedPeers<T>[];
}

/** For whom, how many, and who may be in it. */
export interface Choice<T> {
  /** Zone of the asker; "" has no peers "of the same zone". */
  readonly zone: string;
  readonly numwant: number;
  /** Refuses the asker itself, and whatever it could not reach. Each peer is shown at most once. */
  readonly accept: (peer: T) => boolean;
  /** 0..1 */
  readonly random: () => number;
}

/** Refused peers that are passed over in one answer; only a swarm of impostors has so many. */
const MAX_REFUSED = 500;

/** The part of an answer that is kept for other zones. */
const FAR_SHARE = 1 / 8;
/** The part, of each zone's places, that is kept for peers that are fetching too. */
const FETCHING_SHARE = 1 / 2;

/** Chooses and orders at most `numwant` peers. */
export function choosePeers<T>(candidates: Candidates<T>, { zone, numwant, accept, random }: Choice<T>): T[] {
  const chosen: T[] = [];
  let refused = 0;
  const take = (pools: readonly (readonly T[])[], upTo: number) => {
    for (const peer of shuffled(pools, random)) {
      if (chosen.length >= upTo || refused >= MAX_REFUSED) return;
      if (accept(peer)) chosen.push(peer);
      else refused += 1;
    }
  };
  const takeBoth = (complete: readonly (readonly T[])[], fetching: readonly (readonly T[])[], upTo: number) => {
    const room = upTo - chosen.length;
    take(complete, upTo - Math.min(size(fetching), Math.floor(room * FETCHING_SHARE)));
    take(fetching, upTo);
  };
  const [farComplete, farFetching] = [far(candidates.complete, zone), far(candidates.incomplete, zone)];
  if (zone !== "") {
    const kept = Math.min(size(farComplete) + size(farFetching), Math.floor(numwant * FAR_SHARE));
    takeBoth(near(candidates.complete, zone), near(candidates.incomplete, zone), numwant - kept);
  }
  takeBoth(farComplete, farFetching, numwant);
  return chosen;
}

function size<T>(pools: readonly (readonly T[])[]): number {
  let total = 0;
  for (const pool of pools) total += pool.length;
  return total;
}

function near<T>(maps: readonly ZonedPeers<T>[], zone: string): (readonly T[])[] {
  return maps.map((map) => map.get(zone) ?? []);
}

function far<T>(maps: readonly ZonedPeers<T>[], zone: string): (readonly T[])[] {
  const pools: (readonly T[])[] = [];
  for (const map of maps) {
    for (const [name, pool] of map) if (zone === "" || name !== zone) pools.push(pool);
  }
  return pools;
}

/**
 * The peers of all pools in random order, each once. A Fisher-Yates shuffle that goes only as far as it is asked; the
 * places it would have swapped are kept aside, so that the pools stay as they are.
 */
function* shuffled<T>(pools: readonly (readonly T[])[], random: () => number): Generator<T> {
  const total = size(pools);
  const swapped = new Map<number, number>();
  for (let i = 0; i < total; i += 1) {
    const j = i + Math.min(Math.floor(random() * (total - i)), total - i - 1);
    const peer = at(pools, swapped.get(j) ?? j);
    swapped.set(j, swapped.get(i) ?? i);
    yield peer;
  }
}

function at<T>(pools: readonly (readonly T[])[], index: number): T {
  let rest = index;
  for (const pool of pools) {
    if (rest < pool.length) return pool[rest]!;
    rest -= pool.length;
  }
  throw new RangeError(`no peer ${index}`);
}
