/**
 * `node test/sim/main.ts --hosts N --size BYTES ...`: simulates a swarm and prints what came out.
 * @module
 */
import { parseArgs } from "node:util";
import { parseSize } from "../../lib/config/size.ts";
import { payloadRate, type Scenario, scenario } from "./scenario.ts";
import { simulate } from "./simulation.ts";

const defaults = scenario({ hosts: 8, size: 1 });
const options = Object.fromEntries(
  [...Object.entries(defaults), ["mbit", 0] as const].map(([key, value]) => [
    key,
    { type: (typeof value === "boolean" ? "boolean" : "string") as "boolean" | "string" },
  ]),
);
const { values } = parseArgs({ args: process.argv.slice(2), allowNegative: true, options });
const given: Record<string, unknown> = { hosts: 8, size: 256 * 1024 * 1024 };
for (const [key, value] of Object.entries(values)) {
  if (key === "size" || key === "pieceLength") given[key] = parseSize(String(value));
  else if (key === "mbit") given.rate = payloadRate(Number(value) * 1e6);
  else given[key] = typeof value === "boolean" ? value : Number(value);
}
const s = scenario(given as unknown as Scenario);
const t0 = performance.now();
const r = simulate(s);
const wall = (performance.now() - t0) / 1000;
const ratios = r.hosts
  .filter((h) => !h.slow && !h.died && h.ms !== undefined)
  .map((h) => h.ms! / r.boundMs)
  .sort((a, b) => a - b);
const unfinished = r.hosts.filter((h) => !h.died && h.ms === undefined).length;
const q = (p: number) => (ratios[Math.min(ratios.length - 1, Math.floor(p * ratios.length))] ?? NaN).toFixed(3);
const per = (n: number) => (n / s.hosts).toFixed(2);
console.log(
  `bound ${(r.boundMs / 1000).toFixed(2)} s  p50 ${q(0.5)} p90 ${q(0.9)} p99 ${q(0.99)} max ${q(1)}  seeder ${(r.seederSent / s.size).toFixed(3)} waste ${((100 * r.totals.wasted) / s.size / s.hosts).toFixed(2)}% crossed ${(r.totals.crossed / s.size / s.hosts).toFixed(3)} unfinished ${unfinished}`,
);
console.log(
  `   per host: requests ${per(r.totals.pieceRequests)} seeder ${per(r.totals.seederRequests)} refused ${per(r.totals.seederRefusals)} announces ${per(r.totals.announces)} follows ${per(r.totals.follows)}/${per(r.totals.followRefusals)}/${per(r.totals.displaced)} haves ${per(r.totals.haves)}  events ${r.events} wall ${wall.toFixed(1)} s cpu ${(process.cpuUsage().user / 1e6).toFixed(1)} rss ${(process.memoryUsage().rss / 1e6).toFixed(0)} MB`,
);
