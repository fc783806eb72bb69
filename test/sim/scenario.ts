/**
 * What is simulated.
 * @module
 */

import { pieceLengthFor } from "../../lib/bt/layout.ts";
import { DEGREE, SEEK } from "../../lib/bt/neighbours.ts";
import { tellAfterMs } from "../../lib/bt/tell-after.ts";

/** Sizes in bytes, rates in bytes a second of payload, times in ms of virtual time. */
export interface Scenario {
  readonly hosts: number;
  readonly size: number;
  readonly pieceLength: number;
  /** A host's line, each way. */
  readonly rate: number;
  readonly seederRate: number;
  /** The seeder reads an origin at `originRate` while hosts ask; else it has the blob. */
  readonly cold: boolean;
  readonly originRate: number;
  /** Round trip inside a zone, and between zones. */
  readonly rttMs: number;
  readonly zoneRttMs: number;
  readonly zones: number;
  /** From the beginning of one host to the next; 0: all within `startMs`. */
  readonly joinEveryMs: number;
  /** Hosts begin at random within so long. */
  readonly startMs: number;
  /** So many hosts have lines of `slowFactor` of the others'. */
  readonly slowHosts: number;
  readonly slowFactor: number;
  /** So many hosts vanish, when `dieAt` of the bound is over. */
  readonly dying: number;
  readonly dieAt: number;
  /** A vanished host is noticed by a reset (process killed), else by silence (power lost). */
  readonly dieSilently: boolean;
  /** Peers a host keeps at most, and looks for. */
  readonly degree: number;
  readonly seek: number;
  /** Hosts that may follow one that has all. */
  readonly followers: number;
  /** Requests a host has under way at peers, and at one peer, at most; 0: what `requestLimits` says. */
  readonly window: number;
  readonly depth: number;
  readonly seederSlots: number;
  /** Requests that may wait at the seeder. */
  readonly seederQueue: number;
  /** From a piece's arrival until it is told. */
  readonly haveMs: number;
  readonly announceMs: number;
  readonly numwant: number;
  /** Each host has a client that reads the blob from its beginning. */
  readonly reader: boolean;
  readonly seed: number;
}

/** Bits a second of a line to bytes a second of payload in it, as the rig measures. */
export function payloadRate(bits: number): number {
  return (bits / 8) * 0.9564;
}

/** @returns The scenario with what was left out. */
export function scenario(given: Partial<Scenario> & Pick<Scenario, "hosts" | "size">): Scenario {
  const rate = given.rate ?? payloadRate(1e9);
  const { pieceLength = pieceLengthFor(given.size) } = given;
  return {
    pieceLength,
    rate,
    seederRate: rate,
    cold: false,
    originRate: rate,
    rttMs: 0.5,
    zoneRttMs: 2,
    zones: 1,
    joinEveryMs: 0,
    startMs: 100,
    slowHosts: 0,
    slowFactor: 0.25,
    dying: 0,
    dieAt: 0.5,
    dieSilently: false,
    degree: DEGREE,
    seek: SEEK,
    followers: 40,
    window: 0,
    depth: 0,
    seederSlots: 16,
    seederQueue: 64,
    // A dozen pieces share a line; see `request-limits.ts`.
    haveMs: tellAfterMs((12 * pieceLength * 1000) / rate),
    announceMs: 10_000,
    numwant: 50,
    reader: true,
    seed: 1,
    ...given,
  };
}

/** The least time a host's download can take, ms. */
export function boundMs({ size, rate, seederRate, cold, originRate }: Scenario): number {
  return (size / Math.min(rate, seederRate, cold ? originRate : rate)) * 1000;
}
