/**
 * Which peers a download keeps. Pure functions: the product, its tests and the simulator run the same code.
 *
 * A host keeps a bounded number of peers however large the swarm is, so its cost does not grow with it; about twenty
 * random ones connect a swarm of any size within three or four steps. Neighbours follow each other: who asks is asked
 * back. All hosts should have about the same number of them, since a host with few gets a small share of each peer's
 * line and falls behind; so a host looks for nearly as many as it may have, and one that is full lets a newcomer in by
 * leaving an old neighbour, which then has one place to fill and mostly room to wait for it. Otherwise those that came
 * first would know each other alone.
 *
 * Most neighbours are of the host's own zone, where bytes are cheap; some must not be, or a zone would get from outside
 * only what the seeder sends into it. Peers that do not answer are left at once; one at a time, those that have had
 * nothing for this host, and those much slower than the others, make room for somebody new, if there is somebody
 * (docs/design.md, "Neighbours").
 * @module
 */

/** A peer whose pieces this host follows. */
export interface Neighbour<K> {
  /** What it is known by. */
  readonly key: K;
  /** "" when it named none. */
  readonly zone: string;
  /** Monotonic ms since which it is followed. */
  readonly since: number;
  /** Monotonic ms of the oldest request it has not sent a byte for; undefined while it owes none. */
  readonly owingSince: number | undefined;
  /** Requests under way at it. */
  readonly requests: number;
  /** Whether it has a piece that this host lacks. */
  readonly useful: boolean;
  /** Smoothed ms a piece takes from it; undefined before its first. */
  readonly pieceMs: number | undefined;
  /** Monotonic ms of its latest piece; undefined before its first. */
  readonly lastPieceAt: number | undefined;
}

/** A peer that could be followed. */
export interface Candidate<K> {
  readonly key: K;
  readonly zone: string;
}

/** What the choice is made from. */
export interface NeighbourState<K> {
  readonly neighbours: readonly Neighbour<K>[];
  /** Peers heard of and not followed, banned or resting. */
  readonly candidates: readonly Candidate<K>[];
  /** This host's own; "" when it has none. */
  readonly zone: string;
  /** Peers to keep at most. */
  readonly degree?: number;
  /** Peers to look for; the places up to `degree` are for those that come by themselves. */
  readonly seek?: number;
  /** Median ms of the latest pieces from anywhere; undefined before the first. */
  readonly medianMs: number | undefined;
  /** Monotonic ms. */
  readonly now: number;
  /** Uniform in [0, 1). */
  random(): number;
}

/** What to do now. */
export interface NeighbourChoice<K> {
  readonly drop: readonly K[];
  readonly add: readonly K[];
}

/** Peers a download keeps at most, unless told otherwise. */
export const DEGREE = 20;
/** Peers it looks for: a few less, so that one who lost a neighbour to a newcomer need not take another's. */
export const SEEK = 17;
/** The share of the peers that come from other zones, where there are others. */
const FAR_SHARE = 1 / 8;
/** A peer that sends no byte of what it was asked for is dead after this, ms, or after so many median piece times. */
const SILENT_MS = 5000;
const SILENT_MEDIANS = 20;
/** A peer is given so long, ms, before it is compared with others. */
const GRACE_MS = 3000;
/** A peer that takes so many times the median piece time is slow. */
const SLOW = 6;

/** @returns Peers to leave and peers to follow; both empty when all is well. */
export function chooseNeighbours<K>(state: NeighbourState<K>): NeighbourChoice<K> {
  const { neighbours, degree = DEGREE, seek = SEEK, now } = state;
  const silentMs = Math.max(SILENT_MS, SILENT_MEDIANS * (state.medianMs ?? 0));
  const drop: K[] = [];
  const kept: Neighbour<K>[] = [];
  for (const neighbour of neighbours) {
    const dead = neighbour.owingSince !== undefined && now - neighbour.owingSince > silentMs;
    if (dead || kept.length >= degree) drop.push(neighbour.key);
    else kept.push(neighbour);
  }
  // As many as there are: one for one.
  const places = Math.max(Math.min(seek, degree), kept.length);
  if (kept.length === places && state.candidates.length > 0) {
    const worst = leastUseful(kept, state);
    if (worst) {
      kept.splice(kept.indexOf(worst), 1);
      drop.push(worst.key);
    }
  }
  return { drop, add: fill(kept, { ...state, degree: places }) };
}

/**
 * Whom a host leaves for a newcomer when it has as many neighbours as it may.
 * @returns One of the older half, since those who came first have the most neighbours; one that owes nothing, where
 * there is one. Undefined when there is no neighbour.
 */
export function makeRoom<K>({
  neighbours,
  random,
}: {
  neighbours: readonly Pick<Neighbour<K>, "key" | "since" | "requests">[];
  random(): number;
}): K | undefined {
  const idle = neighbours.filter(({ requests }) => requests === 0);
  const pool = (idle.length > 0 ? idle : [...neighbours]).sort((one, other) => one.since - other.since);
  return pool[Math.floor((random() * pool.length) / 2)]?.key;
}

/** The one to give up for somebody new: it has nothing and had nothing lately, or is much slower than the rest. */
function leastUseful<K>(kept: readonly Neighbour<K>[], { medianMs, now }: NeighbourState<K>): Neighbour<K> | undefined {
  let worst: Neighbour<K> | undefined;
  let quiet = GRACE_MS;
  for (const neighbour of kept) {
    if (neighbour.useful) continue;
    const idleMs = now - Math.max(neighbour.since, neighbour.lastPieceAt ?? 0);
    if (idleMs <= quiet) continue;
    quiet = idleMs;
    worst = neighbour;
  }
  if (worst || medianMs === undefined) return worst;
  let slowest = SLOW * medianMs;
  for (const neighbour of kept) {
    if (now - neighbour.since <= GRACE_MS) continue;
    const owed = neighbour.owingSince === undefined ? 0 : now - neighbour.owingSince;
    const pieceMs = Math.max(neighbour.pieceMs ?? 0, owed);
    if (pieceMs <= slowest) continue;
    slowest = pieceMs;
    worst = neighbour;
  }
  return worst;
}

/** Near ones up to their share, far ones up to theirs, then whoever there is; of equals any. */
function fill<K>(kept: readonly Neighbour<K>[], state: NeighbourState<K> & { degree: number }): K[] {
  const { candidates, degree, zone, random } = state;
  const room = degree - kept.length;
  if (room <= 0) return [];
  const isFar = (peer: { zone: string }) => zone !== "" && peer.zone !== zone;
  const near = shuffled(
    candidates.filter((peer) => !isFar(peer)),
    random,
  );
  const far = shuffled(candidates.filter(isFar), random);
  const farRoom = Math.max(0, Math.round(degree * FAR_SHARE) - kept.filter(isFar).length);
  const chosen = far.splice(0, Math.min(room, farRoom));
  return [...chosen, ...near, ...far].slice(0, room).map(({ key }) => key);
}

function shuffled<T>(items: T[], random: () => number): T[] {
  for (let last = items.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [items[last], items[other]] = [items[other]!, items[last]!];
  }
  return items;
}
