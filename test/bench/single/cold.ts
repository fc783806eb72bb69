/**
 * @module One cold pull on loopback, through a proxy and a seeder, against the registry itself.
 */
import { rm } from "node:fs/promises";
import { figure, median } from "../statistics.ts";
import { formatTable } from "../table.ts";
import { timedCurl } from "../timed-curl.ts";
import { watchIdle } from "../usage.ts";
import { type Bench, blobUrl, startParts, stopParts, watchProcesses } from "./bench.ts";

interface ColdRun {
  seconds: number;
  firstByte: number;
  idle: number;
  /** CPU seconds by process. */
  cpu: Partial<Record<"registry" | "seeder" | "proxy" | "tracker" | "curl", number>>;
}

/** Runs both in turn. @returns a table of medians. */
export async function benchCold(bench: Bench): Promise<string> {
  const { rig, registry, runs, blob } = bench;
  const direct: ColdRun[] = [];
  const eagle: ColdRun[] = [];
  const sink = ["-o", "/dev/null"];
  for (let run = 0; run < runs; run++) {
    const plainCpu = watchProcesses({ registry: registry.process });
    const plainIdle = watchIdle();
    const plain = await timedCurl(rig.processes, [...sink, blobUrl(bench, registry.url)]);
    direct.push({ ...plain, idle: plainIdle(), cpu: { ...plainCpu(), curl: plain.cpu } });
    const parts = await startParts(bench, `cold-${run}`);
    const { seeder, proxy, tracker } = parts;
    const cpu = watchProcesses({
      registry: registry.process,
      seeder: seeder.process,
      proxy: proxy.process,
      tracker: tracker.process,
    });
    const idle = watchIdle();
    const pull = await timedCurl(rig.processes, [...sink, blobUrl(bench, proxy.url)]);
    if (pull.size !== blob.size) throw new Error(`the proxy sent ${pull.size} bytes of ${blob.size}`);
    eagle.push({ ...pull, idle: idle(), cpu: { ...cpu(), curl: pull.cpu } });
    await stopParts(parts);
    for (const app of [seeder, proxy]) await rm(app.directory!, { recursive: true, force: true });
  }
  return report(bench, { direct, eagle });
}

function report({ blob }: Bench, runs: Record<"direct" | "eagle", ColdRun[]>): string {
  const gb = blob.size / 1e9;
  const plain = median(runs.direct.map(({ seconds }) => seconds));
  const names = ["registry", "seeder", "proxy", "tracker", "curl"] as const;
  const rows = (["direct", "eagle"] as const).map((client) => {
    const middle = (of: (run: ColdRun) => number | undefined) =>
      median(runs[client].map((run) => of(run) ?? Number.NaN));
    const seconds = middle((run) => run.seconds);
    return [
      client,
      figure(seconds, 3),
      figure(blob.size / 1e6 / seconds, 0),
      figure(seconds / plain),
      figure(middle((run) => run.firstByte) * 1000, 0),
      ...names.map((name) => figure(middle((run) => run.cpu[name]) / gb)),
      figure(middle((run) => run.idle) * 100, 0),
    ];
  });
  const cpu = names.map((name) => `${name} CPU s/GB`);
  return formatTable(["pull", "seconds", "MB/s", "x direct", "first byte ms", ...cpu, "idle %"], rows);
}
