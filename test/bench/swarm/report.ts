/**
 * @module Figures of swarm runs as rows of a table.
 */
import { figure, median, span } from "../statistics.ts";
import type { Cell } from "../table.ts";
import { disturbing } from "../usage.ts";
import type { ClientName, SwarmCase } from "./cases.ts";
import type { HostTime, RunFigures } from "./run.ts";

/** A run with less idle CPU than this measured the machine, not the client. */
export const cpuBound = 0.15;

/** Headings of the rows of `reportRow`. */
export const reportHeadings: readonly Cell[] = [
  ...["client", "slowest s", "x bound", "of runs", "start-up s", "seeder blobs", "origin blobs", "waste %"],
  ...["host CPU s/GB", "seeder CPU s/blob GB", "host MB", "seeder MB", "idle %", "others %", "note"],
];

/** The slowest host's time in bounds; the start-up of clients that begin with the clock is left out. */
export function ratioOf({ hosts, startUp }: Pick<RunFigures, "hosts" | "startUp">): number {
  return Math.max(...hosts.map(({ seconds, bound }) => (seconds - startUp) / bound));
}

/** Medians of a client's runs of a case. */
export function reportRow(spec: SwarmCase, client: ClientName, runs: readonly RunFigures[]): Cell[] {
  const middle = (of: (run: RunFigures) => number) => median(runs.map(of));
  const ratios = runs.map(ratioOf);
  const [idle, others] = [middle((run) => run.idle), middle((run) => run.others)];
  return [
    client,
    figure(
      middle((run) => slowest(run.hosts)),
      2,
    ),
    figure(median(ratios), 3),
    span(ratios, 3),
    figure(
      middle((run) => run.startUp),
      2,
    ),
    figure(
      middle((run) => run.seederSent),
      3,
    ),
    figure(
      middle((run) => run.originSent),
      3,
    ),
    figure(
      middle((run) => run.waste * 100),
      2,
    ),
    figure(middle((run) => run.hostCpu)),
    figure(middle((run) => run.seederCpu)),
    figure(
      middle((run) => run.hostMemory / 1e6),
      0,
    ),
    figure(
      middle((run) => run.seederMemory / 1e6),
      0,
    ),
    figure(idle * 100, 0),
    figure(others * 100, 0),
    notes(spec, client, runs, { ratio: median(ratios), idle, others }).join("; "),
  ];
}

function notes(
  { target }: SwarmCase,
  client: ClientName,
  runs: readonly RunFigures[],
  { ratio, idle, others }: { ratio: number; idle: number; others: number },
): string[] {
  const slow = runs.flatMap((run) => (run.slow ? [run.slow.seconds / run.slow.bound] : []));
  const bad = runs.flatMap(({ badRequests }) => badRequests ?? []);
  return [
    ...(client === "eagle" ? [`${ratio <= target ? "meets" : "MISSES"} <= ${target}x`] : []),
    ...(slow.length > 0 ? [`slow host ${figure(median(slow), 3)}x of its own bound`] : []),
    ...(bad.length > 0 ? [`the bad peer was asked ${figure(median(bad), 0)} times`] : []),
    ...(idle < cpuBound ? ["CPU-bound"] : []),
    ...(others > disturbing ? ["disturbed"] : []),
  ];
}

function slowest(hosts: readonly HostTime[]): number {
  return Math.max(...hosts.map(({ seconds }) => seconds));
}
