/**
 * `node test/sim/main.ts`: a swarm in virtual time, with the product's own decisions.
 * @module
 */
import { parseArgs } from "node:util";
import { parseSize } from "../../lib/config/size.ts";
import { renderResults } from "./report.ts";
import { rigCase, rigCaseNames } from "./rig-cases.ts";
import { payloadRate, type Scenario, scenario } from "./scenario.ts";
import { simulate } from "./simulation.ts";

const usage = `node test/sim/main.ts [--hosts N] [--size SIZE] [--rate MBIT] [--KEY VALUE]... | --case NAME... | --case all
  --hosts N        hosts that want the blob (default 1000)
  --size SIZE      of the blob: bytes, or with K, M, G (default 1000000000)
  --rate MBIT      of each host's line, each way (default 1000); --seeder-rate and --origin-rate: as --rate when not given
  --case NAME      a case of the rig instead: ${rigCaseNames().join(", ")}; changed by further options
  --KEY VALUE      any other key of test/sim/scenario.ts in kebab case: --rtt-ms 20, --cold, --zones 4, --dying 2, --seed 7
Ratios are of a host's time to the bound (size / the slowest of its line, the seeder's and, cold, the origin's); figures behind "waste" are means per host.
`;

main(process.argv.slice(2));

function main(args: string[]): void {
  const defaults = scenario({ hosts: 1000, size: 1e9 });
  const keys = Object.entries(defaults).map(
    ([key, value]) => [kebab(key), { type: typeof value === "boolean" ? "boolean" : "string" }] as const,
  );
  const { values } = parseArgs({
    args,
    allowNegative: true,
    options: {
      help: { type: "boolean" },
      case: { type: "string", multiple: true },
      ...(Object.fromEntries(keys) as Record<string, { type: "boolean" | "string" }>),
    },
  });
  const { help, case: cases, ...rest } = values;
  if (help === true) {
    process.stdout.write(usage);
    return;
  }
  const changes = Object.fromEntries(Object.entries(rest).map(([key, value]) => [camel(key), read(key, value)]));
  const names = cases as string[] | undefined;
  const scenarios: [string, Scenario][] = names
    ? (names.includes("all") ? rigCaseNames() : names).map((name) => [name, rigCase(name, changes)])
    : [[args.join(" ") || "default", scenario({ hosts: defaults.hosts, size: defaults.size, ...changes })]];
  const started = performance.now();
  const runs = scenarios.map(([name, given]) => ({ name, result: simulate(given) }));
  process.stdout.write(renderResults(runs));
  const cpu = process.cpuUsage();
  const figures = {
    events: runs.reduce((sum, { result }) => sum + result.events, 0),
    "real s": ((performance.now() - started) / 1000).toFixed(1),
    "CPU s": ((cpu.user + cpu.system) / 1e6).toFixed(1),
    "MB resident": (process.memoryUsage().rss / 1e6).toFixed(0),
  };
  const line = Object.entries(figures).map(([name, value]) => `${value} ${name}`);
  process.stdout.write(`${line.join(", ")}\n`);
}

function read(key: string, value: unknown): number | boolean {
  if (typeof value === "boolean") return value;
  if (key === "size" || key === "piece-length") return parseSize(String(value));
  const number = Number(value);
  if (!Number.isFinite(number) || number < 0) throw new RangeError(`--${key} ${value}: a number is wanted`);
  return key === "rate" || key.endsWith("-rate") ? payloadRate(number * 1e6) : number;
}

function kebab(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function camel(key: string): string {
  return key.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
