/**
 * @module Ordinary BitTorrent clients as processes of a test: aria2, transmission and libtorrent. Each downloads a
 * torrent into a directory, or seeds what is there already; none looks for peers beyond tracker and web seeds.
 */
import { execFileSync } from "node:child_process";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { freePort } from "../rig/ports.ts";
import type { Process, StartOptions } from "../rig/processes.ts";
import type { Rig } from "../rig/rig.ts";
import { need } from "../rig/tools.ts";

const libtorrentScript = fileURLToPath(new URL("libtorrent-client.py", import.meta.url));

/** Which client. */
export type BtClientName = "aria2" | "transmission" | "libtorrent";
export const btClientNames = ["aria2", "transmission", "libtorrent"] as const;

/** What it does. */
export interface BtTask {
  /** Path of a .torrent. */
  readonly torrent: string;
  /** Where the file is or goes to. */
  readonly directory: string;
  /** @default "leech" */
  readonly role?: "seed" | "leech";
  /** IPv4 address that it listens at. @default 127.0.0.1 */
  readonly address?: string;
  /** Starts the process. @default the rig's `processes.start` */
  readonly start?: (command: string, args: readonly string[], options: StartOptions) => Process;
}

/** A client at work. The rig ends it. */
export interface BtClient {
  readonly process: Process;
  /** Resolves when the torrent is complete. @throws Error with its last output when it is not in time. */
  complete(options?: { timeoutMs?: number }): Promise<void>;
}

/**
 * Tells node:test whether to skip a test that uses these clients; see `need`.
 * @throws Error with the reason where the environment says `CI=true`.
 */
export function needClients(...names: readonly BtClientName[]): string | false {
  const tools = { aria2: "aria2c", transmission: "transmission-cli", libtorrent: "python3" };
  const missing = need({ tools: names.map((name) => tools[name]) });
  if (missing || !names.includes("libtorrent")) return missing;
  try {
    execFileSync("/usr/bin/python3", ["-c", "import libtorrent"], { stdio: "ignore" });
    return false;
  } catch {
    return need({ tools: ["python3-libtorrent"] });
  }
}

/** Starts a client. */
export async function startBtClient(rig: Rig, name: BtClientName, task: BtTask): Promise<BtClient> {
  const port = await freePort();
  await mkdir(task.directory, { recursive: true });
  const start = task.start ?? ((command, args, options) => rig.processes.start(command, args, options));
  const { command, args } = await commands[name](rig, { role: "leech", address: "127.0.0.1", ...task, port });
  const process = start(command, args, { name });
  return {
    process,
    async complete({ timeoutMs = 60_000 } = {}) {
      await process.line(/^done$/, { timeoutMs });
    },
  };
}

type Spec = Required<Omit<BtTask, "start">> & { port: number };

const commands: Record<BtClientName, (rig: Rig, spec: Spec) => Promise<{ command: string; args: string[] }>> = {
  async aria2(rig, { torrent, directory, role, address, port }) {
    const seeding = ["--check-integrity=true", "--allow-overwrite=true"];
    return {
      command: "aria2c",
      args: [
        ...["--no-conf=true", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false"],
        ...["--enable-peer-exchange=false", "--disable-ipv6=true", "--file-allocation=none", "--seed-ratio=0.0"],
        ...["--summary-interval=0", "--show-console-readout=false", "--console-log-level=warn"],
        ...[`--interface=${address}`, `--listen-port=${port}`, `--dir=${directory}`],
        `--on-bt-download-complete=${await sayDone(rig)}`,
        ...(role === "seed" ? seeding : []),
        torrent,
      ],
    };
  },

  async transmission(rig, { torrent, directory, address, port }) {
    const home = rig.path(`transmission-${port}`);
    await mkdir(home, { recursive: true });
    const settings = {
      "bind-address-ipv4": address,
      "bind-address-ipv6": "::1",
      "dht-enabled": false,
      "lpd-enabled": false,
      "pex-enabled": false,
      "port-forwarding-enabled": false,
      "utp-enabled": false,
      "ratio-limit-enabled": false,
    };
    await writeFile(`${home}/settings.json`, JSON.stringify(settings));
    const done = await sayDone(rig, `${home}/done`);
    // It tells nothing when it has everything from the start, and calls its script without an output: by a file.
    const args = ["-g", home, "-w", directory, "-p", String(port), "-M", "-f", done, torrent];
    const script = `transmission-cli "$@" & while sleep 0.1; do [ -e "$DONE" ] && echo && echo done && break; done; wait`;
    return { command: "env", args: [`DONE=${home}/done`, "sh", "-c", script, "sh", ...args] };
  },

  async libtorrent(_rig, { torrent, directory, role, address, port }) {
    return { command: "/usr/bin/python3", args: [libtorrentScript, role, `${address}:${port}`, directory, torrent] };
  },
};

/** A script that says "done", or makes a file. */
async function sayDone(rig: Rig, file?: string): Promise<string> {
  const path = file === undefined ? rig.path("say-done.sh") : `${file}.sh`;
  await writeFile(path, file === undefined ? "#!/bin/sh\necho done\n" : `#!/bin/sh\n: > "${file}"\n`);
  await chmod(path, 0o755);
  return path;
}
