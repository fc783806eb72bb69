/**
 * @module aria2 and libtorrent on the hosts of a rig, with opentracker and one seeder: the same swarm by BitTorrent.
 */
import { linkSync, mkdirSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { HostName } from "../../rig/netns.ts";
import type { Process } from "../../rig/processes.ts";
import { type BlobFile, hexOf } from "../blob-files.ts";
import type { Arena, Contender, Pull } from "./contender.ts";
import { makeTorrent, type Torrent } from "./torrent.ts";

const libtorrentScript = fileURLToPath(new URL("libtorrent-peer.py", import.meta.url));
const pieceLength = 1024 * 1024;
/** A seeder has announced itself by then. */
const settleMs = 3000;

/** Says that a torrent is complete: aria2's own messages come only when seeding ends. */
const doneScript = fileURLToPath(new URL("aria2-done.sh", import.meta.url));

/** Flags that make aria2 a plain, unlimited BitTorrent client. */
export const aria2Flags = [
  ...["--no-conf=true", "--enable-dht=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false"],
  ...["--follow-torrent=mem", "--check-integrity=false", "--file-allocation=none", "--seed-ratio=0.0"],
  ...["--bt-tracker-interval=1", "--bt-max-peers=64", "--bt-request-peer-speed-limit=1000M"],
  ...["--allow-overwrite=true", "--summary-interval=0", "--show-console-readout=false", "--console-log-level=warn"],
  `--on-bt-download-complete=${doneScript}`,
];

/** How many torrents an aria2 has completed, by its output. */
export function completedBy({ output }: Pick<Process, "output">): number {
  return output.match(/^torrent complete$/gm)?.length ?? 0;
}

/** See the module. */
export class BitTorrent implements Contender {
  readonly seeders: Process[] = [];
  readonly endedCpu = 0;
  readonly #arena: Arena;
  readonly #client: "aria2" | "libtorrent";
  readonly #torrents: string[] = [];
  readonly #receivers = new Map<HostName, Process>();

  private constructor(arena: Arena, client: "aria2" | "libtorrent") {
    this.#arena = arena;
    this.#client = client;
  }

  /** Makes the torrents, starts tracker and seeder, and lets them settle. */
  static async start(arena: Arena, client: "aria2" | "libtorrent"): Promise<BitTorrent> {
    const swarm = new BitTorrent(arena, client);
    const { rig, net, blobs } = arena;
    const address = net.address("seed");
    const torrents = blobs.map((blob) =>
      makeTorrent(blob, { announce: `http://${address}:6969/announce`, pieceLength }),
    );
    mkdirSync(rig.path("bt-seed"));
    for (const [index, blob] of blobs.entries()) {
      const file = rig.path(`bt-${index}.torrent`);
      writeFileSync(file, torrents[index]!.bytes);
      swarm.#torrents.push(file);
      linkSync(blob.path, swarm.stored("seed", blob));
    }
    const [command, ...words] = trackerCommand(rig.path("opentracker"), `${address}:6969`, torrents);
    swarm.seeders.push(net.start("seed", command, words));
    await sleep(500);
    swarm.seeders.push(swarm.#start("seed", "seed"));
    await sleep(settleMs);
    return swarm;
  }

  receiver(host: HostName): Process | undefined {
    return this.#receivers.get(host);
  }

  async arm(host: HostName): Promise<Pull> {
    mkdirSync(this.#arena.rig.path(`bt-${host}`), { recursive: true });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    return {
      go: () => {
        const process = this.#start(host, "leech");
        this.#receivers.set(host, process);
        this.#finished(process).then(resolve, reject);
      },
      done: promise,
    };
  }

  stored(host: HostName, blob: BlobFile): string {
    return this.#arena.rig.path(`bt-${host}`, `${hexOf(blob)}.layer`);
  }

  async #finished(process: Process): Promise<void> {
    const { blobs } = this.#arena;
    const isDone = () => {
      if (this.#client === "libtorrent") return /^done$/m.test(process.output);
      return completedBy(process) >= blobs.length;
    };
    await process.ready(async () => isDone(), { what: "complete", timeoutMs: 900_000 });
  }

  #start(host: HostName, role: "seed" | "leech"): Process {
    const { net, rig } = this.#arena;
    const folder = rig.path(`bt-${host}`);
    const address = net.address(host);
    if (this.#client === "libtorrent") {
      return net.start(host, "/usr/bin/python3", [libtorrentScript, role, address, folder, ...this.#torrents]);
    }
    const seeding = role === "seed" ? ["--bt-seed-unverified=true"] : [];
    const flags = [...aria2Flags, ...seeding, "--listen-port=6881", `--bt-external-ip=${address}`, `--dir=${folder}`];
    const many = this.#torrents.length > 1 ? ["-Z", `-j${this.#torrents.length}`] : [];
    return net.start(host, "aria2c", [...flags, ...many, ...this.#torrents]);
  }
}

/** A command line for opentracker that knows these torrents alone. */
export function trackerCommand(
  directory: string,
  listen: string,
  torrents: readonly Torrent[],
): [command: string, ...words: string[]] {
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  writeFileSync(`${directory}/whitelist`, torrents.map(({ infoHash }) => `${infoHash}\n`).join(""));
  const config = `listen.tcp_udp ${listen}\naccess.whitelist /whitelist\ntracker.rootdir ${directory}\n`;
  writeFileSync(`${directory}/tracker.conf`, config);
  return ["opentracker", "-f", `${directory}/tracker.conf`];
}
