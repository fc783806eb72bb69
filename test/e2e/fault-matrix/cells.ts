/**
 * @module What may go wrong between which parts, for whom: the axes of the fault matrix.
 */
import type { FaultKind } from "../../rig/faults.ts";
import type { StreamFaultKind } from "../../rig/stream-faults.ts";
import { allOf, type Combination, pairwise } from "./pairwise.ts";

export const AXES = {
  /**
   * Which connection. `seeder-metainfo` is the call that tells of a blob, `seeder-pieces` the requests for its pieces: a
   * small blob comes with the call.
   */
  link: ["proxy-origin", "seeder-origin", "seeder-metainfo", "seeder-pieces", "proxy-peer"],
  fault: ["cut", "stall", "flip", "slow", "503", "404", "reset", "hole"],
  /** Of a layer: the byte that the fault meets. What has no byte (503, 404, hole) is the same at each. */
  place: ["start", "middle", "last"],
  client: ["dockerd", "containerd", "podman", "curl"],
  /** A layer that comes inline, one that is held whole until its digest agrees, one that streams. */
  size: ["small", "held", "streamed"],
} as const;

/** One cell of the matrix. */
export type Cell = Combination<typeof AXES>;

/** Bytes of a cell's layer, about. */
export const SIZES = { small: 100_000, held: 2_000_000, streamed: 9_000_000 } as const;

/** Bytes a second of a slow one. */
const SLOW = 2_000_000;

/** The cells of a run: a cover of all pairs, or all there are. */
export function cellsOf({ isLong, seed }: { isLong: boolean; seed: number }): Cell[] {
  // Pieces of a small blob are never asked for at a seeder: it came with the call.
  const isPossible = ({ link, size }: Cell) => link !== "seeder-pieces" || size !== "small";
  if (isLong) {
    const hasPlace = ({ fault, place }: Cell) => place === "start" || !["503", "404", "hole"].includes(fault);
    return allOf(AXES).filter((cell) => isPossible(cell) && hasPlace(cell));
  }
  return pairwise(AXES, { seed }).map((cell) => (isPossible(cell) ? cell : { ...cell, size: "held" }));
}

/** The byte of a layer that a fault meets. */
export function positionOf({ place }: Cell, size: number): number {
  return { start: 0, middle: Math.floor(size / 2), last: size - 1 }[place];
}

/** As requests of HTTP/1.1 meet it. */
export function faultOf(cell: Cell, size: number): FaultKind {
  const at = positionOf(cell, size);
  switch (cell.fault) {
    case "cut":
    case "reset":
    case "stall":
      return { kind: cell.fault, at, of: "blob" };
    case "flip":
      return { kind: "flip", at };
    case "slow":
      return { kind: "slow", at, rate: SLOW };
    case "hole":
      return { kind: "hole" };
    default:
      return { kind: "status", status: Number(cell.fault) };
  }
}

/** As the connection of a call meets it: `bytes` is about what comes over it. */
export function streamFaultOf(cell: Cell, bytes: number): StreamFaultKind {
  const at = positionOf(cell, bytes);
  switch (cell.fault) {
    case "cut":
    case "reset":
    case "stall":
    case "flip":
      return { kind: cell.fault, at };
    case "slow":
      return { kind: "slow", at, rate: SLOW };
    case "hole":
      return { kind: "hole" };
    default:
      return { kind: "status", status: Number(cell.fault) };
  }
}

export function titleOf({ link, fault, place, client, size }: Cell): string {
  return `${link}: ${fault} at ${place}, ${client}, ${size}`;
}
