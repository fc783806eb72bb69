/**
 * What the hosts of a simulation share.
 * @module
 */
import type { Clock } from "./clock.ts";
import type { Network } from "./network.ts";
import type { Scenario } from "./scenario.ts";
import type { SimHost } from "./sim-host.ts";
import type { SimSeeder } from "./sim-seeder.ts";
import type { SimTracker } from "./sim-tracker.ts";

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
  /** Peers followed, and refused because too many follow them. */
  follows: number;
  followRefusals: number;
  displaced: number;
  /** Lines of haves. */
  haves: number;
}

/** See the module. */
export interface SimSwarm {
  readonly scenario: Scenario;
  readonly clock: Clock;
  readonly network: Network;
  readonly hosts: readonly SimHost[];
  readonly seeder: SimSeeder;
  readonly tracker: SimTracker;
  readonly totals: Totals;
  readonly random: () => number;
  onFinished(host: SimHost): void;
}

/** Bytes of a piece. */
export function pieceBytes({ size, pieceLength }: Scenario, piece: number): number {
  return Math.min(pieceLength, size - piece * pieceLength);
}
