/**
 * `eagle demo`: Eagle at work, on this machine alone.
 * @module
 */
import { createLogger } from "../../../lib/log/log.ts";
import { runDemo } from "../demo/demo.ts";
import { command } from "./command.ts";
import { interruptible } from "./interruptible.ts";
import { sizeValue } from "./values.ts";

const COMMAND = "eagle demo";

const SPEC = {
  name: COMMAND,
  about:
    "Starts a registry with an image made on the spot, a tracker, a seeder and two proxies, all in this process on 127.0.0.1, and pulls the image through the first proxy and then through the second. Shows where the bytes came from, and fails if the registry sent anything twice. Needs neither docker nor a network; leaves nothing behind. Disk space needed meanwhile: about five times the image.",
  flags: {
    size: { type: "string", value: "SIZE", fallback: "130M", about: "Size of the image, about; 1M to 4G." },
    "log-level": {
      type: "string",
      choices: ["debug", "info", "warn", "error"],
      fallback: "error",
      about: "How much the parts log, to stderr.",
    },
  },
  examples: ["eagle demo", "eagle demo --size 1G --log-level info"],
} as const;

/** @returns 0, or 1 when the second proxy took blobs from the registry or the registry sent a blob more than once */
export const run = command(SPEC, async ({ values }) => {
  const bounds = { command: COMMAND, flag: "--size", min: 1024 ** 2, max: 4 * 1024 ** 3 };
  const size = sizeValue(values.size, bounds);
  const log = createLogger({ name: "eagle", level: values["log-level"] });
  const print = (text: string) => process.stdout.write(text);
  const faults = await interruptible((signal) => runDemo({ size, signal, log, print }));
  for (const fault of faults) print(`NOT AS IT SHOULD BE: ${fault}\n`);
  if (faults.length === 0)
    print("All is well: every blob left the origin once, and proxy 2 took none of them from it.\n");
  return faults.length === 0 ? 0 : 1;
});
