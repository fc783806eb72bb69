/**
 * `eagle doctor`: looks at this host and says what to change.
 * @module
 */
import { ConfigError, loadConfig, type ProxyConfig, proxyConfigSchema } from "../../../lib/config/index.ts";
import { type Check, type DoctorContext, renderChecks } from "../doctor/check.ts";
import { checkEngines } from "../doctor/engines.ts";
import { checkCertificates, checkDisk, checkPorts } from "../doctor/place.ts";
import { checkReach } from "../doctor/reach.ts";
import { command } from "./command.ts";
import { interruptible } from "./interruptible.ts";

/** No look takes longer, ms. */
const TIME_MS = 20_000;

const SPEC = {
  name: "eagle doctor",
  about:
    "Looks at a host with Eagle's proxy: its configuration, disk, ports and clock, whether registries, seeders and trackers can be reached, and whether the container engines pull through it. Says in plain words what to change. Exits with 0 when pulls through Eagle work, with 1 when something failed.",
  flags: {
    config: {
      type: "string",
      short: "c",
      value: "FILE",
      about: "The proxy's configuration. Not given: the defaults, with docker.io as registry.",
    },
    json: { type: "boolean", about: "One JSON object for programs." },
    root: { type: "string", value: "DIR", fallback: "/", about: "Where the engines' /etc is." },
  },
  examples: ["eagle doctor --config /etc/eagle/proxy.yaml", "eagle doctor --json"],
} as const;

/** @returns 0, or 1 when a check failed */
export const run = command(SPEC, async ({ values }) => {
  const checks = await interruptible((signal) =>
    examine(values.config, {
      root: values.root,
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIME_MS)]),
      now: Date.now,
    }),
  );
  const isWell = checks.every(({ status }) => status !== "fail");
  process.stdout.write(values.json ? `${JSON.stringify({ ok: isWell, checks })}\n` : renderChecks(checks));
  return isWell ? 0 : 1;
});

async function examine(file: string | undefined, context: DoctorContext): Promise<Check[]> {
  let config: ProxyConfig;
  try {
    config = loadConfig(proxyConfigSchema, {
      app: "proxy",
      file,
      ...(file === undefined ? { object: { proxyCfg: { origin: "docker.io" } } } : {}),
    });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return [
      { name: "configuration", status: "fail", message: error.message, advice: "docs/configuration.md has all keys" },
    ];
  }
  const accepted: Check = { name: "configuration", status: "ok", message: file ?? "the defaults (no --config)" };
  const found = await Promise.all([
    checkDisk(config),
    checkPorts(config, context),
    checkCertificates(config, context),
    checkReach(config, context),
    checkEngines(config, context),
  ]);
  return [accepted, ...found.flat()];
}
