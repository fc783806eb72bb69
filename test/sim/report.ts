/**
 * What a simulation says, in a line.
 * @module
 */
import { renderTable } from "../../lib/cli/table.ts";
import type { Result } from "./simulation.ts";

/** Ratios are of a host's time to the bound, slow and dead hosts left out; figures per host are means. */
export interface Summary {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
  /** Hosts that live and did not get the blob. */
  readonly unfinished: number;
  /** Blobs that the seeder sent. */
  readonly seeder: number;
  /** Share of all bytes that hosts needed: sent for nothing; sent from one zone to another between peers. */
  readonly waste: number;
  readonly crossed: number;
  readonly requests: number;
  readonly seederRequests: number;
  readonly announces: number;
  /** Haves told, by piece. */
  readonly haves: number;
  /** Share of the blob that a host holds and its client cannot read yet, since a piece before it is missing. */
  readonly unread: number;
}

export function summarize({ scenario, hosts, boundMs, totals, seederSent }: Result): Summary {
  const ratios = hosts
    .filter(({ slow, died }) => !slow && !died)
    .map(({ ms = Number.POSITIVE_INFINITY }) => ms / boundMs)
    .sort((one, other) => one - other);
  const quantile = (part: number) =>
    ratios[Math.min(ratios.length - 1, Math.floor(part * ratios.length))] ?? Number.NaN;
  const count = hosts.length;
  return {
    p50: quantile(0.5),
    p90: quantile(0.9),
    p99: quantile(0.99),
    max: quantile(1),
    unfinished: hosts.filter(({ died, ms }) => !died && ms === undefined).length,
    seeder: seederSent / scenario.size,
    waste: totals.wasted / (scenario.size * count),
    crossed: totals.crossed / (scenario.size * count),
    requests: totals.pieceRequests / count,
    seederRequests: totals.seederRequests / count,
    announces: totals.announces / count,
    haves: totals.haves / count / Math.ceil(scenario.size / scenario.pieceLength),
    unread: totals.unread / count / Math.ceil(scenario.size / scenario.pieceLength),
  };
}

const header = [
  "scenario",
  "bound s",
  "p50",
  "p90",
  "p99",
  "max",
  "unfinished",
  "seeder",
  "waste %",
  "crossed %",
  "requests",
  "to seeder",
  "announces",
  "haves/piece",
  "unread %",
];

/** A table with a row for each run. */
export function renderResults(runs: readonly { name: string; result: Result }[]): string {
  const rows = runs.map(({ name, result }) => {
    const summary = summarize(result);
    return [
      name,
      (result.boundMs / 1000).toFixed(2),
      ...[summary.p50, summary.p90, summary.p99, summary.max].map((ratio) => ratio.toFixed(3)),
      summary.unfinished,
      summary.seeder.toFixed(3),
      (100 * summary.waste).toFixed(2),
      (100 * summary.crossed).toFixed(1),
      summary.requests.toFixed(1),
      summary.seederRequests.toFixed(1),
      summary.announces.toFixed(1),
      summary.haves.toFixed(1),
      (100 * summary.unread).toFixed(1),
    ];
  });
  return renderTable(rows, { header, align: header.map((_, column) => (column === 0 ? "left" : "right")) });
}
