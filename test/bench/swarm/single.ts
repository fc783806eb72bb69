/**
 * @module One cold host through its proxy and a seeder, against curl straight at the origin.
 */
import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { Runtime } from "../../rig/eagle.ts";
import { Net } from "../../rig/netns.ts";
import { Ballast } from "../ballast.ts";
import { makeBlobFile } from "../blob-files.ts";
import { figure, median } from "../statistics.ts";
import { formatTable } from "../table.ts";
import { watchIdle } from "../usage.ts";
import { createWorkspace } from "../workspace.ts";
import type { SingleCase } from "./cases.ts";
import { type Arena, blobPath } from "./contender.ts";
import { Eagle } from "./eagle.ts";
import { armCurl } from "./gated-curl.ts";
import { startOrigin } from "./run.ts";
import { limitFor, warmUp as pullOthers } from "./warm-up.ts";

interface Times {
  total: number;
  firstByte: number;
  idle: number;
}

/** Runs both in turn. @returns a table of the medians. */
export async function runSingle(
  { rate, size, name }: SingleCase,
  {
    runs,
    runtime,
    directory,
    profile,
    warmUp,
  }: {
    runs: number;
    runtime: Runtime;
    directory: string | undefined;
    profile: string | undefined;
    /** Bytes of other blobs, all together, that the host pulls before. */
    warmUp: number;
  },
): Promise<string> {
  // The host and the seeder; before, and never at once, what curl fetches.
  const needs = (warmUp > 0 ? limitFor(size) : size) * 2 + size;
  await using shelf = createWorkspace({ needs: size + needs, parent: directory });
  const blob = makeBlobFile(shelf.dir, { size, seed: name });
  await using ballast = Ballast.open(dirname(shelf.dir));
  await ballast.fill(needs);
  const direct: Times[] = [];
  const eagle: Times[] = [];
  for (let run = 0; run < runs; run++) {
    await using rig = createWorkspace({ needs, parent: dirname(shelf.dir), ballast });
    const net = await Net.create(rig, { hosts: 1, rate });
    const origin = await startOrigin(rig, net, [blob]);
    const arena: Arena = { rig, net, hosts: net.hosts, blobs: [blob], origin, runtime, profile };
    const started = await Eagle.start(arena, warmUp > 0 ? { limitSize: limitFor(size) } : {});
    await pullOthers(started, arena, warmUp);
    await ballast.fill(size);
    const output = rig.path("direct.bin");
    const curl = await armCurl(arena, "h1", {
      url: `http://${origin}${blobPath(blob)}`,
      gate: rig.path("gate"),
      output,
    });
    const idleDirect = watchIdle();
    curl.go();
    direct.push({ ...(await curl.done), idle: idleDirect() });
    await rm(output);
    await ballast.fill(size * 2);
    const pull = await started.arm("h1");
    const idle = watchIdle();
    pull.go();
    await pull.done;
    eagle.push({ ...started.curls.get("h1")![0]!, idle: idle() });
    process.stderr.write(
      `  run ${run + 1}: direct ${figure(direct.at(-1)!.total)} s, eagle ${figure(eagle.at(-1)!.total)} s\n`,
    );
    await started.stop();
  }
  return report(direct, eagle);
}

function report(direct: readonly Times[], eagle: readonly Times[]): string {
  const middle = (times: readonly Times[], of: keyof Times) => median(times.map((time) => time[of]));
  const [plain, cold] = [middle(direct, "total"), middle(eagle, "total")];
  const later = (times: readonly Times[]) => middle(times, "firstByte") - middle(direct, "firstByte");
  const row = (name: string, times: readonly Times[]) => [
    name,
    figure(middle(times, "total"), 3),
    figure(middle(times, "total") / plain, 3),
    figure(later(times) * 1000, 0),
    figure(middle(times, "idle") * 100, 0),
  ];
  const table = formatTable(
    ["client", "seconds", "x direct", "first byte later by ms", "idle %"],
    [row("direct", direct), row("eagle", eagle)],
  );
  const allowed = plain * 1.03 + 0.15;
  return [
    table,
    `${cold <= allowed ? "meets" : "MISSES"} 1.03x of direct + 150 ms = ${figure(allowed, 3)} s`,
    `${later(eagle) <= 0.05 ? "meets" : "MISSES"} a first byte 50 ms later than direct's`,
  ].join("\n");
}
