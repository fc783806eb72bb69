/**
 * What the hosts of a simulation share.
 * @module
 */
import type { Layout } from "../../lib/bt/layout.ts";
import type { Clock, DelayLine } from "./clock.ts";
import type { Network } from "./network.ts";
import type { Scenario } from "./scenario.ts";
import type { SimHost } from "./sim-host.ts";
import type { SimSeeder } from "./sim-seeder.ts";
import type { SimTracker } from "./sim-tracker.ts";
import type { Transfer } from "./transfer.ts";

/** Sums over all hosts. */
export interface Totals {
  /** Bytes that were sent for nothing: copies, and what was broken off. */
  wasted: number;
  /** Bytes that crossed from one zone to another between peers. */
  crossed: number;
  /** Pieces asked for at peers, and at the seeder. */
  pieceRequests: number;
  seederRequests: number;
  /** Of those at the seeder: sent away because too many wait. */
  seederRefusals: number;
  announces: number;
  /** Peers that hosts began to follow; of those: refused by the peer; made another one leave. */
  follows: number;
  refusals: number;
  displaced: number;
  /** Haves told, by hosts and by piece. */
  haves: number;
  /** Of each piece's arrival: the share of the blob that is there and cannot be read yet. */
  unread: number;
}

/** See the module. */
export interface SimSwarm {
  readonly scenario: Scenario;
  readonly layout: Layout;
  readonly clock: Clock;
  readonly network: Network<Transfer>;
  readonly hosts: readonly SimHost[];
  readonly seeder: SimSeeder;
  readonly tracker: SimTracker;
  readonly totals: Totals;
  readonly random: () => number;
  /** Requests on their way to a peer in the same zone, and in another. */
  readonly nearRequests: DelayLine<Transfer>;
  readonly farRequests: DelayLine<Transfer>;
  /** Pieces that arrived, on the way to those who follow the host. */
  readonly tellings: DelayLine<Transfer>;
  onFinished(host: SimHost): void;
}

/** No sums yet. */
export function noTotals(): Totals {
  return {
    wasted: 0,
    crossed: 0,
    pieceRequests: 0,
    seederRequests: 0,
    seederRefusals: 0,
    announces: 0,
    follows: 0,
    refusals: 0,
    displaced: 0,
    haves: 0,
    unread: 0,
  };
}

/** Ms of a round trip between hosts of two zones. */
export function roundTrip({ rttMs, zoneRttMs }: Scenario, here: string, there: string): number {
  return here === there ? rttMs : zoneRttMs;
}
