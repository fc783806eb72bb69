/**
 * @module What every way of bringing blobs to hosts has to offer to be measured.
 */
import type { Runtime } from "../../rig/eagle.ts";
import type { HostName, Net } from "../../rig/netns.ts";
import type { Process } from "../../rig/processes.ts";
import type { Rig } from "../../rig/rig.ts";
import type { BlobFile } from "../blob-files.ts";

/** Where a contender sets up. */
export interface Arena {
  rig: Rig;
  net: Net;
  /** Hosts that will pull. */
  hosts: readonly HostName[];
  blobs: readonly BlobFile[];
  /** Host and port of the origin, which serves the blobs as a registry does, repository `bench`. */
  origin: string;
  runtime: Runtime;
  /** Where Node's CPU profiles go. */
  profile?: string | undefined;
}

/** A host that is about to pull all blobs. */
export interface Pull {
  /** Begins, at once. */
  go(): void;
  /** Resolves when the host has all blobs; rejects when it will not. */
  done: Promise<void>;
}

/** One way of bringing blobs to hosts, set up. The arena's rig ends what it started. */
export interface Contender {
  /** Processes at the seeder: whose CPU time is what serving costs. */
  readonly seeders: readonly Process[];
  /** Process that receives on a host; undefined before it started, or where it ends with the pull. */
  receiver(host: HostName): Process | undefined;
  /** Gets a host ready to pull. */
  arm(host: HostName): Promise<Pull>;
  /** CPU seconds of receivers that ended by themselves. */
  readonly endedCpu: number;
  /** Where a host keeps a blob it pulled. */
  stored(host: HostName, blob: BlobFile): string;
  /** Bytes of pieces that a host took so far, by its own count, which knows nothing of what TCP sends twice. */
  taken?(host: HostName): Promise<number>;
  /** Ends its processes politely, so that profiles are written. */
  stop?(): Promise<void>;
}

/** Path of a blob at the origin. */
export function blobPath({ digest }: Pick<BlobFile, "digest">): string {
  return `/v2/bench/blobs/${digest}`;
}

/** The file that the origin serves a blob from. */
export function originFile(rig: Rig, blob: Pick<BlobFile, "digest">): string {
  return rig.path("origin", blobPath(blob));
}
