/**
 * @module What a host's CPU pays for a GB received from one source: Eagle's proxy (receive, verify pieces and digest,
 * store) from a seeder that has the blob, aria2 from one aria2 seeder, curl into a file.
 */
import { existsSync, linkSync, mkdirSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { Layout } from "../../../lib/bt/layout.ts";
import type { EagleApp } from "../../rig/eagle.ts";
import { freePort } from "../../rig/ports.ts";
import type { Process } from "../../rig/processes.ts";
import { until } from "../../rig/until.ts";
import { type BlobFile, hexOf } from "../blob-files.ts";
import { startNginx } from "../nginx.ts";
import { figure, median } from "../statistics.ts";
import { aria2Flags, completedBy, trackerCommand } from "../swarm/bittorrent.ts";
import { makeTorrent } from "../swarm/torrent.ts";
import { formatTable } from "../table.ts";
import { timedCurl } from "../timed-curl.ts";
import { cpuSeconds, watchIdle } from "../usage.ts";
import { type Bench, blobUrl, pushNew, startBenchProxy, startParts, stopParts } from "./bench.ts";

interface Received {
  seconds: number;
  /** Of the receiver and of the one it received from, seconds. */
  cpu: number;
  sourceCpu: number;
  idle: number;
}

/** Eagle's proxy as it starts, and as one that has run for a while: it pulled another blob before. */
const ways = ["curl", "aria2", "eagle fresh", "eagle"] as const;
type Way = (typeof ways)[number];

/** Bytes of the other blob. */
const WARM_UP = 128 * 2 ** 20;

/** Runs all in turn. @returns a table of medians. */
export async function benchReceive(bench: Bench): Promise<string> {
  const parts = await startParts(bench, "receive");
  const warmUp = await pushNew(bench, { size: Math.min(bench.blob.size, WARM_UP), seed: "receive before" });
  for (const url of [blobUrl(bench, parts.proxy.url), blobUrl({ blob: warmUp }, parts.proxy.url)]) {
    await timedCurl(bench.rig.processes, ["-o", "/dev/null", url]);
  }
  await parts.proxy.stop();
  const aria2 = await startAria2Seeder(bench);
  const nginx = await startFileServer(bench);
  const measured: Record<Way, Received[]> = { curl: [], aria2: [], "eagle fresh": [], eagle: [] };
  for (let run = 0; run < bench.runs; run++) {
    measured.curl.push(await byCurl(bench, nginx));
    measured.aria2.push(await byAria2(bench, aria2, run));
    measured["eagle fresh"].push(await byEagle(bench, parts, { name: `fresh-${run}` }));
    measured.eagle.push(await byEagle(bench, parts, { name: `${run}`, warmUp }));
  }
  await Promise.all([aria2.process.kill(), aria2.tracker.kill()]);
  await stopParts(parts);
  return report(bench, measured);
}

async function byEagle(
  bench: Bench,
  { tracker, seeder }: Awaited<ReturnType<typeof startParts>>,
  { name, warmUp }: { name: string; warmUp?: BlobFile },
): Promise<Received> {
  const proxy = await startBenchProxy(bench, { tracker, seeder }, `proxy-receive-${name}`);
  if (warmUp) await fetchWhole(bench, proxy, warmUp);
  await touchMemory(bench);
  const watch = watchPair(proxy.process, seeder.process);
  await fetchWhole(bench, proxy, bench.blob);
  const received = watch();
  await proxy.stop();
  await rm(proxy.directory!, { recursive: true, force: true });
  return received;
}

/** Whoever writes the blob next is not charged for memory that the machine has to find first. */
async function touchMemory({ ballast, blob }: Bench): Promise<void> {
  await ballast.fill(blob.size);
}

/** A request for one byte has the proxy fetch the whole blob; nobody reads the rest. */
async function fetchWhole({ rig }: Bench, proxy: EagleApp, blob: BlobFile): Promise<void> {
  const file = `${proxy.directory}/data/${hexOf(blob)}.layer`;
  await timedCurl(rig.processes, ["-r", "0-0", "-o", "/dev/null", blobUrl({ blob }, proxy.url)]);
  await until(() => existsSync(file), { what: "the proxy to commit the blob", timeoutMs: 600_000, everyMs: 10 });
}

interface Aria2Seeder {
  process: Process;
  tracker: Process;
  torrentFile: string;
}

async function startAria2Seeder({ rig, blob }: Bench): Promise<Aria2Seeder> {
  const trackerPort = await freePort();
  const torrent = makeTorrent(blob, {
    announce: `http://127.0.0.1:${trackerPort}/announce`,
    pieceLength: new Layout(blob.size).pieceLength,
  });
  const torrentFile = rig.path("receive.torrent");
  writeFileSync(torrentFile, torrent.bytes);
  const [command, ...words] = trackerCommand(rig.path("opentracker"), `127.0.0.1:${trackerPort}`, [torrent]);
  const tracker = rig.processes.start(command, words);
  await tracker.listening(trackerPort);
  const folder = rig.path("aria2-seeder");
  mkdirSync(folder);
  linkSync(blob.path, `${folder}/${hexOf(blob)}.layer`);
  const port = await freePort();
  const flags = [
    ...aria2Flags,
    "--bt-seed-unverified=true",
    `--listen-port=${port}`,
    "--bt-external-ip=127.0.0.1",
    `--dir=${folder}`,
  ];
  const process = rig.processes.start("aria2c", [...flags, torrentFile], { name: "aria2 seeder" });
  await process.listening(port);
  return { process, tracker, torrentFile };
}

async function byAria2(bench: Bench, seeder: Aria2Seeder, run: number): Promise<Received> {
  const { rig } = bench;
  const folder = rig.path(`aria2-${run}`);
  mkdirSync(folder);
  const place = [`--listen-port=${await freePort()}`, "--bt-external-ip=127.0.0.1", `--dir=${folder}`];
  await touchMemory(bench);
  const sourceCpu = cpuSeconds(seeder.process);
  const idle = watchIdle();
  const begun = performance.now();
  const process = rig.processes.start("aria2c", [...aria2Flags, ...place, seeder.torrentFile], { name: "aria2" });
  await process.ready(async () => completedBy(process) > 0, { what: "complete", timeoutMs: 600_000 });
  const received = {
    seconds: (performance.now() - begun) / 1000,
    cpu: cpuSeconds(process),
    sourceCpu: cpuSeconds(seeder.process) - sourceCpu,
    idle: idle(),
  };
  await process.kill();
  await rm(folder, { recursive: true, force: true });
  return received;
}

async function startFileServer({ rig, blob }: Bench): Promise<{ process: Process; url: string }> {
  const root = rig.path("receive-root");
  mkdirSync(root);
  linkSync(blob.path, `${root}/blob`);
  const port = await freePort();
  const process = startNginx(rig, { listen: `127.0.0.1:${port}`, root, name: "nginx-receive" }, (command, words) =>
    rig.processes.start(command, words),
  );
  await process.listening(port);
  return { process, url: `http://127.0.0.1:${port}/blob` };
}

async function byCurl(bench: Bench, { process, url }: { process: Process; url: string }): Promise<Received> {
  const { rig } = bench;
  await touchMemory(bench);
  const output = rig.path("received.bin");
  const sourceCpu = cpuSeconds(process);
  const idle = watchIdle();
  const { seconds, cpu } = await timedCurl(rig.processes, ["-o", output, url]);
  const received = { seconds, cpu, sourceCpu: cpuSeconds(process) - sourceCpu, idle: idle() };
  await rm(output);
  return received;
}

function watchPair(receiver: Process, source: Process): () => Received {
  const [cpu, sourceCpu, begun] = [cpuSeconds(receiver), cpuSeconds(source), performance.now()];
  const idle = watchIdle();
  return () => ({
    seconds: (performance.now() - begun) / 1000,
    cpu: cpuSeconds(receiver) - cpu,
    sourceCpu: cpuSeconds(source) - sourceCpu,
    idle: idle(),
  });
}

function report({ blob }: Bench, measured: Record<Way, Received[]>): string {
  const gb = blob.size / 1e9;
  const middle = (way: Way, of: keyof Received) => median(measured[way].map((run) => run[of]));
  const rows = ways.map((way) => [
    way,
    figure(blob.size / 1e6 / middle(way, "seconds"), 0),
    figure(middle(way, "cpu") / gb),
    figure(middle(way, "cpu") / middle("aria2", "cpu")),
    figure(middle(way, "sourceCpu") / gb),
    figure(middle(way, "idle") * 100, 0),
  ]);
  return formatTable(["receiver", "MB/s", "CPU s/GB", "x aria2's CPU", "source CPU s/GB", "idle %"], rows);
}
