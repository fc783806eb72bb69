/**
 * `npm run bench`: what one host's pull costs, beside the tools that do the same without Eagle, all in one run.
 * @module
 */
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { parseSize } from "../../lib/config/size.ts";
import type { Runtime } from "../rig/eagle.ts";
import { need } from "../rig/tools.ts";
import { Ballast } from "./ballast.ts";
import { describeMachine } from "./machine.ts";
import { type Bench, prepare } from "./single/bench.ts";
import { benchCold } from "./single/cold.ts";
import { benchReceive } from "./single/receive.ts";
import { benchWarm } from "./single/warm.ts";
import { createWorkspace } from "./workspace.ts";

const usage = `npm run bench -- [--size 1G] [--runs 3] [--runtime node|deno]... [--only cold|warm|receive]... [--dir PATH]
  --size SIZE      of the blob (default 1G)
  --runs N         runs of each figure, the median counts (default 3)
  --runtime NAME   what Eagle runs under (default node); given twice, one after the other
  --only PART      cold, warm or receive; all of them when left out
  --dir PATH       where the files go (default memory)
`;

const parts = {
  cold: { title: "A cold pull on loopback: through proxy and seeder, and direct from docker-registry", run: benchCold },
  warm: { title: "A warm hit on loopback: the proxy's registry port, and nginx with the same file", run: benchWarm },
  receive: { title: "A GB received on a host from one source, verified and stored", run: benchReceive },
} as const;
type PartName = keyof typeof parts;

await main();

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      help: { type: "boolean", default: false },
      size: { type: "string", default: "1G" },
      runs: { type: "string", default: "3" },
      runtime: { type: "string", multiple: true, default: ["node"] },
      only: { type: "string", multiple: true },
      dir: { type: "string" },
    },
  });
  if (values.help) return console.log(usage);
  const size = parseSize(values.size);
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1) throw new Error(`--runs ${values.runs}: a whole number above 0 is wanted`);
  const names = values.only ?? Object.keys(parts);
  for (const name of names)
    if (!(name in parts)) throw new Error(`--only ${name}: one of ${Object.keys(parts).join(", ")} is wanted`);
  const missing = need({ tools: ["docker-registry", "nginx", "curl", "aria2c", "opentracker"], root: true });
  if (missing !== false) throw new Error(`bench: ${missing}`);
  for (const runtime of values.runtime) {
    if (runtime !== "node" && runtime !== "deno") throw new Error(`--runtime ${runtime}: node or deno is wanted`);
    await benchRuntime(runtime, names as PartName[], { size, runs, directory: values.dir });
  }
}

async function benchRuntime(
  runtime: Runtime,
  names: readonly PartName[],
  { size, runs, directory }: { size: number; runs: number; directory: string | undefined },
): Promise<void> {
  console.log(describeMachine(runtime, ["nginx", "aria2c", "curl"]));
  console.log(`blob      ${size / 2 ** 20} MiB, medians of ${runs}; Eagle under ${runtime}`);
  await using rig = createWorkspace({ needs: size * 6, parent: directory });
  await using ballast = Ballast.open(dirname(rig.dir));
  const bench: Bench = { ...(await prepare(rig, { size, runtime, runs })), ballast };
  for (const name of names) {
    console.log(`\n${parts[name].title}`);
    console.log(await parts[name].run(bench));
  }
  console.log("");
}
