/**
 * How many requests a download keeps under way. A pure function: the product, its tests and the simulator run the same
 * code.
 *
 * A dozen at peers fill a line although some of the peers are busy with others; more would make each piece take longer
 * to arrive and so longer to be passed on, and would leave the seeder, whose pieces nobody else has, a smaller share of
 * the line. One at each peer spreads the load best. Where a request takes long to bring its first byte, what would
 * arrive meanwhile is asked for on top ("bandwidth times delay"). A host that has peers leaves the seeder to the others
 * but for one request. A connection that loses packets now and then brings less the longer the way is: on a long one
 * there are several for one, and half as many at the seeder. The line is the host's, and so are the dozen: blobs that
 * come at once share them (docs/design.md, "Requests").
 * @module
 */

/** What the limits are made from. */
export interface RequestLoad {
  /** Peers that are followed. */
  readonly peers: number;
  /** Downloads of this host, this one included. @default 1 */
  readonly downloads?: number;
  /** Smoothed ms from one arrived piece to the next; undefined before the second. */
  readonly gapMs: number | undefined;
  /** Least ms from a request to its first byte among the latest pieces; undefined before the first. */
  readonly latencyMs: number | undefined;
  /** How long the way to the nearest peer is and back, without what queues on it, ms. @default 0 */
  readonly distanceMs?: number | undefined;
  /** Median ms of the latest pieces; undefined before the first. */
  readonly medianMs: number | undefined;
}

/** Requests under way at most. */
export interface RequestLimits {
  /** At all peers together. */
  readonly window: number;
  /** At one peer. */
  readonly depth: number;
  /** At one seeder, those that wait there included. */
  readonly seeder: number;
}

/** At all peers together, where the first byte comes at once. */
const WINDOW = 12;
const MAX_WINDOW = 64;
/** So many a blob has in any case. */
const LEAST = 3;
/** With fewer peers than these a host lives on the seeder. */
const FEW_PEERS = 4;
const SEEDER_ALONE = 4;
const MAX_SEEDER = 16;

/** A way and back of this many ms one connection fills although packets are lost; see `stretch`. */
const NEAR_MS = 5;
/** Connections for one, at most. */
export const MAX_STRETCH = 4;

/** @returns The limits for now. */
export function requestLimits(load: RequestLoad): RequestLimits {
  const { peers, downloads = 1, gapMs, latencyMs = 0, medianMs } = load;
  const share = Math.max(LEAST, Math.ceil(WINDOW / downloads));
  if (medianMs === undefined || gapMs === undefined) return { window: share, depth: 1, seeder: 1 };
  const connections = stretch(load.distanceMs ?? 0);
  const arriving = Math.min(MAX_WINDOW, Math.ceil(latencyMs / Math.max(gapMs, 1e-3)));
  const extra = arriving > 1 ? 2 * arriving : 0;
  return {
    window: Math.min(MAX_WINDOW, share * connections + extra),
    depth: Math.max(connections, extra > 0 && latencyMs * 4 > medianMs ? 2 : 1),
    seeder: peers >= FEW_PEERS ? Math.ceil(connections / 2) : Math.min(MAX_SEEDER, SEEDER_ALONE + extra),
  };
}

/**
 * What one connection brings while a share p of its packets is lost is about 1.2 packets / (way * sqrt(p)) (Mathis et
 * al., 1997): at 1 % 3.5 MB/s over 5 ms, 0.9 MB/s over 20 ms.
 */
function stretch(distanceMs: number): number {
  return Math.min(MAX_STRETCH, Math.max(1, Math.floor(distanceMs / NEAR_MS)));
}
