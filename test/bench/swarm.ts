/**
 * `npm run bench:swarm`: how close Eagle, direct pulls, aria2 and libtorrent come to the time that physics allows, on hosts
 * in network namespaces with shaped lines. Needs root.
 * @module
 */
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import type { Runtime } from "../rig/eagle.ts";
import { need } from "../rig/tools.ts";
import { Ballast } from "./ballast.ts";
import { type BlobFile, makeBlobFile } from "./blob-files.ts";
import { describeMachine } from "./machine.ts";
import { type Case, type ClientName, cases, clientNames, type SwarmCase } from "./swarm/cases.ts";
import { runLimit } from "./swarm/limit.ts";
import { ratioOf, reportHeadings, reportRow } from "./swarm/report.ts";
import { needsOf, type RunFigures, type RunOptions, runSwarm } from "./swarm/run.ts";
import { runSingle } from "./swarm/single.ts";
import { formatTable } from "./table.ts";
import { disturbing, untilQuiet } from "./usage.ts";
import { createWorkspace } from "./workspace.ts";

const usage = `npm run bench:swarm -- [--case NAME]... [--clients a,b] [--runs N] [--runtime node|deno]
  --list           the cases
  --case NAME      one case, or several; all of them when left out
  --clients LIST   of ${clientNames.join(", ")}; each case has its own list
  --runs N         runs of Eagle and the BitTorrent clients, the median counts (default 5; direct pulls in swarms and the
                   cases of limits run once)
  --warm-up MIB    Eagle's hosts run and have pulled so much of other blobs before the clock starts, one of 64 MiB after
                   the other, and removed them; 0: processes that have just started (default 512)
  --size MIB       other blobs, MiB each
  --rate MBIT      other lines, for a machine whose CPU is not enough for these (a slow host's is slower alike)
  --retries N      more runs in place of those that other work on the machine disturbed (default 3)
  --quiet SECONDS  longest wait for a quiet machine before each run (default 30)
  --runtime NAME   what Eagle runs under (default node)
  --dir PATH       where the files go (default memory)
  --profile PATH   an existing directory for Node's CPU profiles, one a process
  --json           also each run as a line of JSON
`;

interface Settings {
  runs: number;
  retries: number;
  quietMs: number;
  /** Bytes. */
  warmUp: number;
  runtime: Runtime;
  clients: readonly ClientName[] | undefined;
  json: boolean;
  profile: string | undefined;
  directory: string | undefined;
}

await main();

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      case: { type: "string", multiple: true },
      clients: { type: "string" },
      runs: { type: "string", default: "5" },
      retries: { type: "string", default: "3" },
      quiet: { type: "string", default: "30" },
      "warm-up": { type: "string", default: "512" },
      size: { type: "string" },
      rate: { type: "string" },
      runtime: { type: "string", default: "node" },
      dir: { type: "string" },
      profile: { type: "string" },
    },
  });
  if (values.help) return console.log(usage);
  if (values.list)
    return console.log(
      formatTable(
        ["case", "what"],
        cases.map(({ name, about }) => [name, about]),
      ),
    );
  const chosen = chooseCases(values.case, values);
  const settings: Settings = {
    runs: atLeast(1, values.runs, "--runs"),
    retries: atLeast(0, values.retries, "--retries"),
    quietMs: atLeast(0, values.quiet, "--quiet") * 1000,
    warmUp: atLeast(0, values["warm-up"], "--warm-up") * 2 ** 20,
    runtime: oneOf(["node", "deno"] as const, values.runtime, "--runtime"),
    clients: values.clients?.split(",").map((name) => oneOf(clientNames, name, "--clients")),
    json: values.json,
    profile: values.profile,
    directory: values.dir,
  };
  const missing = need({
    tools: ["ip", "tc", "curl", "nginx", "aria2c", "opentracker", "gcc", "iptables"],
    root: true,
  });
  if (missing !== false) throw new Error(`bench:swarm: ${missing}`);
  console.log(describeMachine(settings.runtime, ["nginx", "aria2c", "libtorrent"]));
  for (const spec of chosen) await runCase(spec, settings);
}

async function runCase(spec: Case, settings: Settings): Promise<void> {
  console.log(`\n${spec.name}: ${spec.about}`);
  if (spec.kind === "single") return void console.log(await runSingle(spec, settings));
  if (spec.kind === "limit") return void console.log(await runLimit(spec, settings));
  const rows = [];
  const needs = needsOf(spec, settings);
  await using shelf = createWorkspace({ needs: spec.size * spec.blobs + needs, parent: settings.directory });
  const blobs: BlobFile[] = [];
  for (let index = 0; index < spec.blobs; index++) {
    blobs.push(makeBlobFile(shelf.dir, { size: spec.size, seed: `${spec.name} ${index}` }));
  }
  const directory = dirname(shelf.dir);
  await using ballast = Ballast.open(directory);
  await ballast.fill(needs);
  for (const client of settings.clients ?? spec.clients) {
    const runs = await repeat(spec, client, { ...settings, blobs, directory, ballast });
    if (runs.length > 0) rows.push(reportRow(spec, client, runs));
  }
  console.log(formatTable(reportHeadings, rows));
}

async function repeat(
  spec: SwarmCase,
  client: ClientName,
  { runs, json, retries, quietMs, ...options }: Settings & Pick<RunOptions, "blobs" | "ballast">,
): Promise<RunFigures[]> {
  const done: RunFigures[] = [];
  let again = retries;
  while (done.length < (client === "direct" ? 1 : runs)) {
    await untilQuiet({ timeoutMs: quietMs });
    try {
      const figures = await runSwarm(spec, client, options);
      const isDisturbed = figures.others > disturbing && again-- > 0;
      process.stderr.write(`  ${client}: ${describeRun(figures)}${isDisturbed ? ", disturbed: once more" : ""}\n`);
      if (json) console.log(JSON.stringify({ case: spec.name, client, isDisturbed, ...figures }));
      if (!isDisturbed) done.push(figures);
    } catch (error) {
      console.error(`  ${client} FAILED: ${(error as Error).message}`);
      process.exitCode = 1;
      if (again-- <= 0) break;
    }
  }
  return done;
}

function describeRun(figures: RunFigures): string {
  const share = (value: number) => `${(value * 100).toFixed(0)} %`;
  return `${ratioOf(figures).toFixed(3)}x, CPU ${figures.hostCpu.toFixed(1)} s/GB, idle ${share(figures.idle)}, others ${share(figures.others)}`;
}

function chooseCases(names: readonly string[] | undefined, changes: { size?: string; rate?: string }): Case[] {
  const chosen =
    names === undefined
      ? cases
      : names.map((name) => {
          const found = cases.find((spec) => spec.name === name);
          if (found === undefined) throw new Error(`--case ${name}: there is none of that name, see --list`);
          return found;
        });
  const size = changes.size === undefined ? undefined : atLeast(1, changes.size, "--size") * 2 ** 20;
  const rate = changes.rate === undefined ? undefined : atLeast(1, changes.rate, "--rate");
  return chosen.map((spec) => {
    if (spec.kind === "limit") return spec;
    const sized = { ...spec, ...(size && { size }) };
    return rate === undefined ? sized : withRate(sized, rate);
  });
}

function withRate<T extends Exclude<Case, { kind: "limit" }>>(spec: T, rate: number): T {
  const slowRate = spec.kind === "swarm" && spec.slowRate && Math.ceil((spec.slowRate * rate) / spec.rate);
  return { ...spec, rate, about: `${spec.about} (here: ${rate} Mbit/s)`, ...(slowRate && { slowRate }) };
}

function atLeast(least: number, text: string, flag: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least)
    throw new Error(`${flag} ${text}: a whole number from ${least} on is wanted`);
  return value;
}

function oneOf<T extends string>(allowed: readonly T[], text: string, flag: string): T {
  const found = allowed.find((name) => name === text);
  if (found === undefined) throw new Error(`${flag} ${text}: one of ${allowed.join(", ")} is wanted`);
  return found;
}
