/**
 * @module Whether a host's rate limit holds: 4 blobs at once over 8 other hosts, measured at its network device.
 */
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Runtime } from "../../rig/eagle.ts";
import { type HostName, Net } from "../../rig/netns.ts";
import { makeBlobFile } from "../blob-files.ts";
import { figure, median, span } from "../statistics.ts";
import { formatTable } from "../table.ts";
import { createWorkspace } from "../workspace.ts";
import type { LimitCase } from "./cases.ts";
import type { Arena } from "./contender.ts";
import { Eagle } from "./eagle.ts";
import { startOrigin } from "./run.ts";

const rate = 1000;
/** Few take from a limited seeder: what they give each other would be as much again for each, and the machine's limit. */
const peers = { down: 8, up: 2 };
const blobCount = 4;
const blobSize = 64 * 1024 * 1024;
/** The window begins when a burst is over. */
const settleMs = 1000;
const windowSeconds = 10;

/** Runs it. @returns a table with the rate in a window of 10 s and in its seconds. */
export async function runLimit(
  { direction, limit, name }: LimitCase,
  { runtime, directory, profile }: { runtime: Runtime; directory: string | undefined; profile: string | undefined },
): Promise<string> {
  const all = blobCount * blobSize;
  const count = peers[direction];
  await using shelf = createWorkspace({ needs: all * (count + 4), parent: directory });
  const blobs = Array.from({ length: blobCount }, (_, index) =>
    makeBlobFile(shelf.dir, { size: blobSize, seed: `${name} ${index}` }),
  );
  await using rig = createWorkspace({ needs: all * (count + 2), parent: dirname(shelf.dir) });
  const net = await Net.create(rig, { hosts: count + 1, rate, originRate: 2000 });
  const origin = await startOrigin(rig, net, blobs);
  const arena: Arena = { rig, net, hosts: net.hosts.slice(0, count), blobs, origin, runtime, profile };
  const eagle = await Eagle.start(arena, direction === "up" ? { uploadRateLimit: limit } : {});
  for (const blob of blobs) await eagle.warm(blob);
  const limited: HostName = direction === "up" ? "seed" : net.hosts.at(-1)!;
  const way = direction === "up" ? "sent" : "received";
  const pullers = direction === "up" ? arena.hosts : [limited];
  if (direction === "down") {
    await pullAll(eagle, arena.hosts);
    await eagle.startProxy(limited, { downloadRateLimit: limit });
    await sleep(1000);
  }
  const armed = await Promise.all(pullers.map((host) => eagle.arm(host)));
  for (const pull of armed) pull.go();
  await sleep(settleMs);
  const { mean, seconds } = await watch(() => net.traffic().get(limited)![way]);
  await Promise.all(armed.map(({ done }) => done));
  await eagle.stop();
  const row = [
    `${figure(limit / 1e6, 1)}`,
    figure(mean / 1e6),
    figure(median(seconds) / 1e6),
    span(seconds.map((value) => value / 1e6)),
  ];
  return formatTable(["MB/s asked", "MB/s over 10 s", "median second", "seconds"], [row]);
}

async function pullAll(eagle: Eagle, hosts: readonly HostName[]): Promise<void> {
  const armed = await Promise.all(hosts.map((host) => eagle.arm(host)));
  for (const pull of armed) pull.go();
  await Promise.all(armed.map(({ done }) => done));
}

/** Bytes a second: over the window, and in each of its seconds. */
async function watch(count: () => number): Promise<{ mean: number; seconds: number[] }> {
  const look = () => ({ at: performance.now(), bytes: count() });
  const rateOf = (from: ReturnType<typeof look>, to: typeof from) =>
    ((to.bytes - from.bytes) / (to.at - from.at)) * 1000;
  const seconds: number[] = [];
  const begun = look();
  let last = begun;
  // A timer may fire a little early: counted by the clock, that would leave a moment too short to be a second.
  for (let second = 1; second <= windowSeconds; second++) {
    await sleep(begun.at + second * 1000 - last.at);
    const next = look();
    seconds.push(rateOf(last, next));
    last = next;
  }
  return { mean: rateOf(begun, last), seconds };
}
