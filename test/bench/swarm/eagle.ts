/**
 * @module Eagle on the hosts of a rig: tracker and seeder at the seeder's host, a proxy on each other, curl as the engine.
 */
import { writeFile } from "node:fs/promises";
import { stringify } from "yaml";
import { requestRemoval } from "../../../lib/bt/removal-requests.ts";
import { type AppName, type Runtime, runtimeCommand } from "../../rig/eagle.ts";
import { parseMetrics, sumOf } from "../../rig/metrics-text.ts";
import type { HostName } from "../../rig/netns.ts";
import type { Process } from "../../rig/processes.ts";
import { type BlobFile, hexOf } from "../blob-files.ts";
import { type Arena, blobPath, type Contender, type Pull } from "./contender.ts";
import { armCurl, type CurlFigures } from "./gated-curl.ts";

export const trackerPort = 6969;
const seederPort = 55008;
const proxyPort = 43002;
const peerPort = 61006;

type Section = Record<string, unknown>;

/** What a test asks of the parts. */
export interface EagleOptions {
  /** Most bytes of blobs that each host keeps, and the seeder. @default as a host that is told nothing */
  limitSize?: number;
  /** Of the hosts, bytes a second; 0 is none. */
  downloadRateLimit?: number;
  /** Of the seeder, bytes a second; 0 is none. */
  uploadRateLimit?: number;
}

/** See the module. */
export class Eagle implements Contender {
  readonly endedCpu = 0;
  readonly seeders: Process[] = [];
  /** What the latest curls told, by host. */
  readonly curls = new Map<HostName, CurlFigures[]>();
  readonly #arena: Arena;
  readonly #proxies = new Map<HostName, Process>();
  #tracker: Process | undefined;
  #gates = 0;

  private constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** Starts all parts and waits until they listen. */
  static async start(arena: Arena, options: EagleOptions = {}): Promise<Eagle> {
    const eagle = new Eagle(arena);
    const { net, origin, rig } = arena;
    const common = { registries: { [origin]: { plainHTTP: true } } };
    const trackers = [`${net.address("seed")}:${trackerPort}`];
    eagle.#tracker = await eagle.#startApp("tracker", "seed", { trackerCfg: { port: trackerPort } });
    const seeder = await eagle.#startApp("seeder", "seed", {
      ...common,
      daemonCfg: { port: seederPort },
      seederCfg: {
        ...{ origin, trackers, rootDirectory: rig.path("seeder"), minFree: "1M" },
        ...(options.limitSize && { limitSize: String(options.limitSize) }),
        ...(options.uploadRateLimit && { uploadRateLimit: String(options.uploadRateLimit) }),
      },
    });
    eagle.seeders.push(eagle.#tracker, seeder);
    await Promise.all(arena.hosts.map((host) => eagle.startProxy(host, options)));
    return eagle;
  }

  /** Starts the proxy of one host. */
  async startProxy(host: HostName, { downloadRateLimit, limitSize }: EagleOptions = {}): Promise<void> {
    const { net, origin, rig } = this.#arena;
    const proxy = await this.#startApp("proxy", host, {
      registries: { [origin]: { plainHTTP: true } },
      proxyCfg: { port: proxyPort, origin },
      clientCfg: {
        peerPort,
        trackers: [`${net.address("seed")}:${trackerPort}`],
        seeders: [`${net.address("seed")}:${seederPort}`],
        rootDirectory: rig.path(`proxy-${host}`),
        minFree: "1M",
        ...(limitSize && { limitSize: String(limitSize) }),
        ...(downloadRateLimit && { downloadRateLimit: String(downloadRateLimit) }),
      },
    });
    this.#proxies.set(host, proxy);
  }

  /** Has the seeder fetch a blob, and waits until it holds it. */
  async warm(blob: BlobFile): Promise<void> {
    const url = `http://${this.#arena.origin}${blobPath(blob)}`;
    await this.#arena.net.run("seed", "curl", [
      ...["-q", "--noproxy", "*", "-sS", "-f", "-o", "/dev/null", "-H", "content-type: application/json"],
      ...["-d", JSON.stringify({ url }), `http://127.0.0.1:${seederPort}/metainfo.MetaInfo/GetMetaInfo`],
    ]);
  }

  /** Has all hosts and the seeder remove blobs. @throws Error when one does not. */
  async drop(blobs: readonly Pick<BlobFile, "digest">[]): Promise<void> {
    const { rig } = this.#arena;
    const roots = [rig.path("seeder"), ...[...this.#proxies.keys()].map((host) => rig.path(`proxy-${host}`))];
    const requests = roots.flatMap((rootDirectory) =>
      blobs.map(async (blob) => {
        const isDone = await requestRemoval({ rootDirectory, id: hexOf(blob) }, new AbortController().signal);
        if (!isDone) throw new Error(`${rootDirectory} keeps ${blob.digest}, which it was to remove`);
      }),
    );
    await Promise.all(requests);
  }

  receiver(host: HostName): Process | undefined {
    return this.#proxies.get(host);
  }

  async arm(host: HostName, blobs: readonly BlobFile[] = this.#arena.blobs): Promise<Pull> {
    const { rig } = this.#arena;
    const curls = await Promise.all(
      blobs.map((blob) =>
        armCurl(this.#arena, host, {
          url: `http://127.0.0.1:${proxyPort}${blobPath(blob)}`,
          gate: rig.path(`gate-${this.#gates++}`),
          output: "/dev/null",
        }),
      ),
    );
    return {
      go: () => {
        for (const curl of curls) curl.go();
      },
      done: Promise.all(curls.map(({ done }) => done)).then((figures) => {
        this.curls.set(host, figures);
        for (const [index, { size }] of figures.entries()) {
          if (size !== blobs[index]!.size)
            throw new Error(`${host} got ${size} bytes instead of ${blobs[index]!.size}`);
        }
      }),
    };
  }

  stored(host: HostName, blob: BlobFile): string {
    return this.#arena.rig.path(`proxy-${host}`, "data", `${hexOf(blob)}.layer`);
  }

  async taken(host: HostName): Promise<number> {
    const args = ["-q", "--noproxy", "*", "-sS", "-f", `http://127.0.0.1:${peerPort}/metrics`];
    return sumOf(parseMetrics(await this.#arena.net.run(host, "curl", args)), "eagle_bytes", { direction: "in" });
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#proxies.values(), ...this.seeders].map((process) => process.stop()));
  }

  async #startApp(app: AppName, host: HostName, config: Record<string, Section>): Promise<Process> {
    const { net, rig, runtime, profile } = this.#arena;
    const file = rig.path(`${app}-${host}.yaml`);
    await writeFile(file, stringify(config));
    const [command, ...words] = eagleCommand(
      runtime,
      app,
      profile === undefined ? undefined : { directory: profile, name: `${app}-${host}` },
    );
    const flags = ["--config", file, "--log-format", "json"];
    const process = net.start(host, command, [...words, ...flags], { name: `${app} on ${host}` });
    await process.line(/listens/, { timeoutMs: 60_000 });
    return process;
  }
}

/** The command line of a part of Eagle; with a profile, Node writes where its CPU time went when the part ends. */
export function eagleCommand(
  runtime: Runtime,
  app: AppName,
  profile?: { directory: string; name: string },
): [command: string, ...words: string[]] {
  const [command, ...words] = runtimeCommand(runtime, `apps/${app}/main.ts`);
  if (profile === undefined || runtime !== "node") return [command, ...words];
  const flags = ["--cpu-prof", `--cpu-prof-dir=${profile.directory}`, `--cpu-prof-name=${profile.name}.cpuprofile`];
  return [command, ...flags, ...words];
}
