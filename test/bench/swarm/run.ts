/**
 * @module One run of one swarm case by one client: sets up, pulls, measures, checks the bytes, takes down.
 */

import { existsSync, linkSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Runtime } from "../../rig/eagle.ts";
import { type HostName, Net, type Traffic } from "../../rig/netns.ts";
import type { Rig } from "../../rig/rig.ts";
import { until } from "../../rig/until.ts";
import type { Ballast } from "../ballast.ts";
import type { BlobFile } from "../blob-files.ts";
import { startNginx } from "../nginx.ts";
import { cpuSecondsOf, peakMemory, watchIdle, watchOthers } from "../usage.ts";
import { createWorkspace } from "../workspace.ts";
import { startBadPeer } from "./bad-peer-host.ts";
import { BitTorrent } from "./bittorrent.ts";
import { lowerBound } from "./bound.ts";
import type { ClientName, SwarmCase } from "./cases.ts";
import { type Arena, type Contender, originFile, type Pull } from "./contender.ts";
import { Direct } from "./direct.ts";
import { Eagle } from "./eagle.ts";
import { limitFor, warmUp } from "./warm-up.ts";

/** What a run is told besides its case. */
export interface RunOptions {
  runtime: Runtime;
  blobs: readonly BlobFile[];
  /** Bytes of other blobs that Eagle's hosts pull before the clock starts. @default 0 */
  warmUp?: number;
  /** Where the files go. */
  directory?: string | undefined;
  /** In that directory. */
  ballast?: Ballast | undefined;
  profile?: string | undefined;
}

/** One host's pull. */
export interface HostTime {
  host: HostName;
  /** From its own start. */
  seconds: number;
  /** The least that physics allows it. */
  bound: number;
}

/** What a run measured. Bytes are TCP payload at the network devices. */
export interface RunFigures {
  /** Hosts that ended with all bytes: the ordinary ones, and the slow one. */
  hosts: HostTime[];
  slow: HostTime | undefined;
  /** Until the first 256 KiB left the seeder, of clients that start with the clock: seconds; else 0. */
  startUp: number;
  /** Sent by the seeder's and the origin's host, in blobs (all blobs of the case are one). */
  seederSent: number;
  originSent: number;
  /** Received beyond the blobs, as a share of them. */
  waste: number;
  /** The same by the hosts' own count of pieces, which leaves out what TCP sends twice; undefined where none counts. */
  wastedPieces: number | undefined;
  /** CPU seconds: receivers for each GB (1e9 bytes) received, servers for each GB sent. */
  hostCpu: number;
  seederCpu: number;
  /** Largest process, bytes. */
  hostMemory: number;
  seederMemory: number;
  /** Share of the machine's CPU time that nobody used, and that processes of others used. */
  idle: number;
  others: number;
  /** Requests for pieces that the bad peer got; undefined where there is none. */
  badRequests?: number | undefined;
}

const fastRate = 2000;

/** Runs it. @throws Error when a host does not get the right bytes. */
export async function runSwarm(spec: SwarmCase, client: ClientName, options: RunOptions): Promise<RunFigures> {
  const { hosts: count, rate, slowRate, misdeed } = spec;
  const { ballast } = options;
  await using rig = createWorkspace({ needs: needsOf(spec, options), parent: options.directory, ballast });
  const net = await Net.create(rig, {
    hosts: count + (misdeed ? 1 : 0),
    rate,
    ...(spec.delayMs !== undefined && { delayMs: spec.delayMs }),
    ...(spec.loss !== undefined && { loss: spec.loss }),
  });
  const hosts = net.hosts.slice(0, count);
  const origin = await startOrigin(rig, net, options.blobs);
  const arena: Arena = { rig, net, hosts, origin, ...options };
  const contender = await setUp(client, arena, { ...spec, warmUp: options.warmUp ?? 0 });
  if (slowRate !== undefined) net.shape(hosts.at(-1)!, slowRate);
  const badPeer = misdeed && (await startBadPeer(arena, net.hosts.at(-1)!, misdeed));
  await ballast?.fill(bytesOf(spec) * (count + 1));
  await sleep(1000);
  const pulls = await Promise.all(hosts.map(async (host) => [host, await contender.arm(host)] as const));
  const figures = await measure(spec, client, arena, contender, pulls);
  await contender.stop?.();
  return { ...figures, badRequests: badPeer?.requests() };
}

/** Bytes that the files of a run take at most: as much at each host and the seeder, and some to spare. */
export function needsOf(spec: SwarmCase, { warmUp = 0 }: Pick<RunOptions, "warmUp">): number {
  const measured = bytesOf(spec);
  return (warmUp > 0 ? limitFor(measured) : measured) * (spec.hosts + 1) + measured * 2;
}

function bytesOf({ size, blobs }: Pick<SwarmCase, "size" | "blobs">): number {
  return size * blobs;
}

/** nginx that serves the blobs under a registry's paths. @returns its host and port. */
export async function startOrigin(rig: Rig, net: Net, blobs: readonly BlobFile[]): Promise<string> {
  const root = rig.path("origin");
  for (const blob of blobs) {
    const file = originFile(rig, blob);
    mkdirSync(dirname(file), { recursive: true });
    linkSync(blob.path, file);
  }
  const address = `${net.address("origin")}:5000`;
  startNginx(rig, { listen: address, root }, (command, words) => net.start("origin", command, words));
  await net.run("origin", "curl", [
    "-q",
    "-s",
    "--retry",
    "20",
    "--retry-connrefused",
    "--retry-delay",
    "1",
    `http://${address}/v2/`,
  ]);
  return address;
}

async function setUp(client: ClientName, arena: Arena, spec: SwarmCase & { warmUp: number }): Promise<Contender> {
  const { cold, rate } = spec;
  if (client === "direct") return new Direct(arena);
  if (client !== "eagle") return BitTorrent.start(arena, client);
  const eagle = await Eagle.start(arena, spec.warmUp > 0 ? { limitSize: limitFor(bytesOf(spec)) } : {});
  await warmUp(eagle, arena, spec.warmUp);
  if (!cold) {
    const { net, blobs } = arena;
    const both = ["origin", "seed"] as const;
    for (const host of both) net.shape(host, fastRate);
    await net.undelayed(both, async () => {
      for (const blob of blobs) await eagle.warm(blob);
    });
    for (const host of both) net.shape(host, rate);
  }
  return eagle;
}

async function measure(
  spec: SwarmCase,
  client: ClientName,
  { net, blobs }: Arena,
  contender: Contender,
  pulls: readonly (readonly [HostName, Pull])[],
): Promise<RunFigures> {
  const { joinEveryMs = 0, slowRate, rate } = spec;
  const bytes = blobs.reduce((sum, { size }) => sum + size, 0);
  const before = net.traffic();
  const victims = new Set(spec.deaths ? pulls.slice(-spec.deaths.count).map(([host]) => host) : []);
  // Who is killed takes its CPU time along.
  const receivers = () => pulls.flatMap(([host]) => (victims.has(host) ? [] : (contender.receiver(host) ?? [])));
  const takenBefore = await takenBy(
    contender,
    pulls.map(([host]) => host),
  );
  const cpuBefore = cpuSecondsOf(receivers());
  const seederCpuBefore = cpuSecondsOf(contender.seeders);
  const idle = watchIdle();
  const others = watchOthers();
  const startUp =
    client === "aria2" || client === "libtorrent" ? watchStart(net, before.get("seed")!.sent) : Promise.resolve(0);
  const ended = pulls.map(async ([host, pull], index) => {
    if (joinEveryMs > 0) await sleep(index * joinEveryMs);
    const start = performance.now();
    pull.go();
    if (victims.has(host))
      await die(spec.deaths!.how, { net, contender, host, pull, until: before.get(host)!.received + bytes / 2 });
    else await pull.done;
    return { host, seconds: (performance.now() - start) / 1000 };
  });
  const all = (await within(mostMs(spec, bytes), Promise.all(ended))).filter(({ host }) => !victims.has(host));
  const shares = { idle: idle(), others: others() };
  const after = net.traffic();
  const hosts = pulls.map((_, index) => (slowRate !== undefined && index === pulls.length - 1 ? slowRate : rate));
  const timed = all.map(({ host, seconds }) => {
    const of = hosts[pulls.findIndex(([name]) => name === host)]!;
    return { host, seconds, bound: lowerBound({ bytes, source: rate, hosts, of }) };
  });
  const received = sumOver(
    all.map(({ host }) => host),
    before,
    after,
    "received",
  );
  const hostCpu = cpuSecondsOf(receivers()) - cpuBefore + contender.endedCpu;
  const taken = await takenBy(
    contender,
    all.map(({ host }) => host),
  );
  const wanted = bytes * all.length;
  const figures: RunFigures = {
    hosts: slowRate === undefined ? timed : timed.slice(0, -1),
    slow: slowRate === undefined ? undefined : timed.at(-1),
    startUp: await startUp,
    seederSent: sumOver(["seed"], before, after, "sent") / bytes,
    originSent: sumOver(["origin"], before, after, "sent") / bytes,
    waste: received / wanted - 1,
    wastedPieces:
      taken && all.reduce((sum, { host }) => sum + taken.get(host)! - takenBefore!.get(host)!, 0) / wanted - 1,
    hostCpu: hostCpu / (received / 1e9),
    seederCpu: (cpuSecondsOf(contender.seeders) - seederCpuBefore) / (bytes / 1e9),
    hostMemory: peakMemory(receivers()),
    seederMemory: peakMemory(contender.seeders),
    ...shares,
  };
  await verify(
    contender,
    all.map(({ host }) => host),
    { net, blobs },
  );
  return figures;
}

/** What the hosts took by their own count; undefined where none counts. */
async function takenBy(
  contender: Contender,
  hosts: readonly HostName[],
): Promise<ReadonlyMap<HostName, number> | undefined> {
  if (!contender.taken) return undefined;
  return new Map(await Promise.all(hosts.map(async (host) => [host, await contender.taken!(host)] as const)));
}

/** A pull that takes so long has failed: the time of pulls one after the other from the origin, and half a minute. */
function mostMs({ hosts, rate, slowRate = rate }: SwarmCase, bytes: number): number {
  return ((hosts + 2) * lowerBound({ bytes, source: slowRate, hosts: [slowRate] }) + 30) * 1000;
}

/** @throws Error when the promise is not settled in time. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  const stop = new AbortController();
  const late = sleep(ms, undefined, { signal: stop.signal }).then(() => {
    throw new Error(`not all hosts had their blobs after ${Math.round(ms / 1000)} s`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
    late.catch(() => {});
  }
}

function sumOver(
  hosts: readonly HostName[],
  before: ReadonlyMap<HostName, Traffic>,
  after: ReadonlyMap<HostName, Traffic>,
  way: keyof Traffic,
): number {
  return hosts.reduce((sum, host) => sum + after.get(host)![way] - before.get(host)![way], 0);
}

/** Seconds until the seeder has sent 256 KiB. */
async function watchStart(net: Net, sentBefore: number): Promise<number> {
  const begun = performance.now();
  while (net.traffic().get("seed")!.sent - sentBefore < 256 * 1024) {
    if (performance.now() - begun > 60_000) break;
    await sleep(10);
  }
  return (performance.now() - begun) / 1000;
}

async function die(
  how: "kill" | "unplug",
  { net, contender, host, pull, until }: { net: Net; contender: Contender; host: HostName; pull: Pull; until: number },
): Promise<void> {
  pull.done.catch(() => {});
  while (net.traffic().get(host)!.received < until) await sleep(20);
  if (how === "unplug") net.unplug(host);
  await contender.receiver(host)?.kill();
}

/** Every byte of every host, against the blob, once it has its name: a pull ends when its last byte is there. */
async function verify(
  contender: Contender,
  hosts: readonly HostName[],
  { net, blobs }: { net: Net; blobs: readonly BlobFile[] },
): Promise<void> {
  for (const host of hosts) {
    for (const blob of blobs) {
      const stored = contender.stored(host, blob);
      await until(() => existsSync(stored), { what: `${host} to store the blob` });
      await net.run(host, "cmp", [blob.path, stored]);
    }
  }
}
