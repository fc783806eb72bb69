/**
 * @module Starts the test peer of bad-peer.ts on a host of a rig.
 */
import { fileURLToPath } from "node:url";
import type { HostName } from "../../rig/netns.ts";
import type { Misdeed } from "./cases.ts";
import type { Arena } from "./contender.ts";
import { trackerPort } from "./eagle.ts";

const script = fileURLToPath(new URL("bad-peer.ts", import.meta.url));

/** A bad peer that runs. */
export interface BadPeer {
  /** Requests for pieces that it has answered, as of a moment ago. */
  requests(): number;
}

/** Starts it, one for the first blob, and waits until the tracker knows it. */
export async function startBadPeer({ net, blobs }: Arena, host: HostName, misdeed: Misdeed): Promise<BadPeer> {
  const tracker = `http://${net.address("seed")}:${trackerPort}`;
  const [blob] = blobs;
  const peer = net.start(host, process.execPath, [script, misdeed, tracker, blob!.path, blob!.digest]);
  await peer.line(/announced/);
  return { requests: () => Number([...peer.output.matchAll(/(\d+) requests so far/g)].at(-1)?.[1] ?? 0) };
}
