/**
 * `eagle up`: all of Eagle for one host.
 * @module
 */
import { isIP } from "node:net";
import { UsageError } from "../../../lib/cli/flags.ts";
import { onShutdown } from "../../../lib/cli/signals.ts";
import { renderTable } from "../../../lib/cli/table.ts";
import { parseHost, parseOrigin } from "../../../lib/config/index.ts";
import { createLogger } from "../../../lib/log/log.ts";
import { type Cluster, type ClusterInit, startCluster } from "../cluster/cluster.ts";
import { dataDirectory } from "../cluster/data-directory.ts";
import { engineGuide } from "../cluster/engine-guide.ts";
import { command } from "./command.ts";
import { parsed, portValue, sizeValue } from "./values.ts";

const COMMAND = "eagle up";

const FLAGS = {
  origin: {
    type: "string",
    value: "HOST",
    multiple: true,
    fallback: "docker.io",
    about:
      "Registry to pull from; the first is the default one. HTTPS, except on loopback or when written as http://HOST.",
  },
  data: {
    type: "string",
    short: "d",
    value: "DIR",
    about: "Where blobs are kept. Not given: /data/bt if it can be written, else ~/.local/share/eagle.",
  },
  "limit-size": {
    type: "string",
    value: "SIZE",
    fallback: "50G",
    about: "Most bytes the proxy keeps, and the seeder as well. The least recently used go first.",
  },
  port: { type: "string", short: "p", value: "PORT", fallback: "43002", about: "Port for container engines." },
  "peer-port": { type: "string", value: "PORT", fallback: "61006", about: "Port that gives pieces to other hosts." },
  "seeder-port": { type: "string", value: "PORT", fallback: "55008", about: "The seeder's port." },
  "tracker-port": { type: "string", value: "PORT", fallback: "6969", about: "The tracker's port." },
  host: {
    type: "string",
    value: "ADDRESS",
    fallback: "127.0.0.1",
    about:
      "This host's address for other hosts, so that their proxies can share with it. The port for engines stays on loopback.",
  },
  "log-level": {
    type: "string",
    choices: ["debug", "info", "warn", "error"],
    fallback: "info",
    about: "How much is logged, to stderr.",
  },
} as const;

const SPEC = {
  name: COMMAND,
  about:
    "Runs a tracker, a seeder and a proxy in one process, with defaults for one host, and tells how to point docker, containerd and podman at it. Ctrl-C or SIGTERM ends it.",
  flags: FLAGS,
  examples: ["eagle up", "eagle up --origin registry.example.com --origin docker.io", "eagle up --host 10.1.2.3"],
} as const;

/** Runs until SIGTERM or SIGINT, which end the process with 0. */
export const run = command(SPEC, async ({ values }) => {
  const port = (flag: "port" | "peer-port" | "seeder-port" | "tracker-port") =>
    portValue(values[flag], { command: COMMAND, flag: `--${flag}` });
  const origins = values.origin.map((text) => parsed(text, { command: COMMAND, flag: "--origin" }, parseOrigin));
  const bounds = { command: COMMAND, flag: "--limit-size", min: 1024 ** 2, max: Number.MAX_SAFE_INTEGER };
  const log = createLogger({ name: "eagle", level: values["log-level"] });
  const checked = {
    origins,
    host: hostValue(values.host),
    trackerPort: port("tracker-port"),
    seederPort: port("seeder-port"),
    proxies: [{ name: "proxy", port: port("port"), peerPort: port("peer-port") }],
    limitSize: sizeValue(values["limit-size"], bounds),
    log,
  };
  // Last of all: it may make a directory.
  const directory = values.data ?? (await dataDirectory());
  const cluster = await start({ ...checked, directory });
  onShutdown(async (signal) => {
    log.info("eagle stops", { signal });
    await cluster[Symbol.asyncDispose]();
  });
  process.stdout.write(welcome(cluster, { origins, directory }));
  return undefined;
});

async function start(init: ClusterInit): Promise<Cluster> {
  try {
    return await startCluster(init);
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE")) throw cause;
    const hint = "something listens there already; choose with --port, --peer-port, --seeder-port or --tracker-port";
    throw new Error(`${cause.message}: ${hint}`, { cause });
  }
}

function welcome(
  { tracker, seeder, proxies }: Cluster,
  { origins, directory }: { origins: readonly string[]; directory: string },
): string {
  const url = proxies[0]!.url;
  const rows = [
    ["proxy", url, "for container engines"],
    ["seeder", seeder.url, "metainfo, pieces, torrents"],
    ["tracker", tracker.url, "announces"],
    ["data", directory, ""],
    ["registries", origins.join(", "), ""],
  ];
  return `Eagle is up.\n\n${renderTable(rows)}\n${engineGuide({ url, origins })}\nCtrl-C ends it.\n`;
}

/** Others are sent to this address, so "all addresses" would tell them nothing. */
function hostValue(text: string): string {
  const host = parsed(text, { command: COMMAND, flag: "--host" }, parseHost);
  if (isIP(host) !== 0 && /^[0:.]+$/.test(host)) {
    throw new UsageError(`${COMMAND}: --host: write the one address that other hosts reach this one at; not ${text}`);
  }
  return host;
}
