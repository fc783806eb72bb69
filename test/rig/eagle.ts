/**
 * @module Eagle's own parts as processes: a config file, `main.ts --config`, ready when `/readyz` says so. They can be
 * killed, frozen, started again on the same directory, and asked for their metrics.
 */
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { call } from "./http-call.ts";
import { parseMetrics, type Sample, sumOf } from "./metrics-text.ts";
import { freePort } from "./ports.ts";
import type { ExitStatus, Process } from "./processes.ts";
import type { Rig } from "./rig.ts";

/** What runs the part. */
export type Runtime = "node" | "deno";

/** Which part. */
export type AppName = "tracker" | "seeder" | "proxy";

/** The runtime that the environment asks for by `EAGLE_RUNTIME`; Node where it says nothing. */
export function defaultRuntime(): Runtime {
  return process.env.EAGLE_RUNTIME === "deno" ? "deno" : "node";
}

/** Root of the repository. */
export const repositoryRoot = fileURLToPath(new URL("../../", import.meta.url));

/** A command line that runs a file of the repository under a runtime. */
export function runtimeCommand(runtime: Runtime, file: string): [command: string, ...args: string[]] {
  const path = `${repositoryRoot}${file}`;
  if (runtime === "node") return [process.execPath, path];
  return [`${repositoryRoot}node_modules/.bin/deno`, "run", "--allow-all", "--quiet", path];
}

/** A part of Eagle. The rig ends it. */
export class EagleApp {
  readonly app: AppName;
  readonly name: string;
  /** Its HTTP port: of a proxy the registry mirror, of a seeder the daemon port. */
  readonly url: URL;
  /** Of a proxy: where its peers ask. Of the others the same as `url`. */
  readonly peerUrl: URL;
  /** Where it stores blobs; none for a tracker. */
  readonly directory: string | undefined;
  readonly #rig: Rig;
  readonly #runtime: Runtime;
  readonly #within: readonly string[];
  readonly #configFile: string;
  #process: Process | undefined;

  constructor(rig: Rig, init: EagleAppInit) {
    this.#rig = rig;
    this.app = init.app;
    this.name = init.name;
    this.url = init.url;
    this.peerUrl = init.peerUrl ?? init.url;
    this.directory = init.directory;
    this.#runtime = init.runtime;
    this.#within = init.within ?? [];
    this.#configFile = init.configFile;
  }

  /** The process of the latest start. @throws Error before that. */
  get process(): Process {
    if (this.#process === undefined) throw new Error(`${this.name} was not started`);
    return this.#process;
  }

  /** Starts it and waits for `/readyz`. @throws Error with its last output when it ends or is not ready in time. */
  async start({ timeoutMs = 20_000 }: { timeoutMs?: number } = {}): Promise<void> {
    const flags = ["--config", this.#configFile, "--log-format", "json"];
    const line = [...this.#within, ...runtimeCommand(this.#runtime, `apps/${this.app}/main.ts`), ...flags];
    this.#process = this.#rig.processes.start(line[0]!, line.slice(1), { name: this.name });
    await this.#process.ready(async () => (await this.health("/readyz")) === 200, { timeoutMs });
  }

  /** Status of `/healthz` or `/readyz`. */
  async health(path: "/healthz" | "/readyz" = "/healthz"): Promise<number> {
    return (await call(new URL(path, this.url), { signal: AbortSignal.timeout(5000) })).status;
  }

  /** kill -9. */
  async kill(): Promise<ExitStatus> {
    return this.process.kill();
  }

  /** SIGTERM. */
  async stop(options?: { graceMs?: number }): Promise<ExitStatus> {
    return this.process.stop(options);
  }

  /** Makes it mute: connections stay open, nothing is answered. */
  freeze(): void {
    this.process.signal("SIGSTOP");
  }

  /** Ends `freeze`. */
  thaw(): void {
    this.process.signal("SIGCONT");
  }

  /** What `/metrics` says now. */
  async metrics(): Promise<Sample[]> {
    return parseMetrics((await call(new URL("/metrics", this.url), { signal: AbortSignal.timeout(5000) })).text);
  }

  /** The counter `eagle_bytes`, of one source and one direction or summed over those not named. */
  async bytes(labels: { source?: string; direction?: "in" | "out" }): Promise<number> {
    return sumOf(await this.metrics(), "eagle_bytes", labels);
  }
}

/** What an EagleApp is made of. */
export interface EagleAppInit {
  app: AppName;
  name: string;
  url: URL;
  peerUrl?: URL;
  directory?: string;
  runtime: Runtime;
  within?: readonly string[];
  configFile: string;
}

/** Credentials and addresses of registries, as the config files name them. */
export type Registries = Record<string, Record<string, unknown>>;

/** What all parts have in common. */
export interface PartOptions {
  name?: string;
  runtime?: Runtime;
  /** A command that runs it, in place of itself: `nsenter ... --`. */
  within?: readonly string[];
  /** Sections of the config file, merged over the rig's by key. */
  config?: Record<string, Record<string, unknown>>;
}

/** What seeders and proxies need to know. */
export interface MemberOptions extends PartOptions {
  trackers: readonly URL[];
  /** The default upstream, as in the config. */
  origin?: string;
  origins?: readonly string[];
  registries?: Registries;
}

/** Starts a tracker. */
export async function startTracker(rig: Rig, options: PartOptions = {}): Promise<EagleApp> {
  const port = await freePort();
  return startApp(rig, "tracker", options, { url: local(port) }, { trackerCfg: { host: "127.0.0.1", port } });
}

/** Starts a seeder. */
export async function startSeeder(rig: Rig, options: MemberOptions): Promise<EagleApp> {
  const { name = "seeder", trackers, registries } = options;
  const [port, wirePort] = [await freePort(), await freePort()];
  const directory = rig.path(`${name}-data`);
  return startApp(
    rig,
    "seeder",
    { ...options, name },
    { url: local(port), directory },
    {
      daemonCfg: { host: "127.0.0.1", port },
      seederCfg: {
        port: wirePort,
        ...upstreams(options),
        trackers: hosts(trackers),
        rootDirectory: directory,
        minFree: "1G",
      },
      ...(registries && { registries }),
    },
  );
}

/** Starts a proxy. */
export async function startProxy(rig: Rig, options: MemberOptions & { seeders: readonly URL[] }): Promise<EagleApp> {
  const { name = "proxy", trackers, seeders, registries } = options;
  const [port, peerPort, wirePort] = [await freePort(), await freePort(), await freePort()];
  const directory = rig.path(`${name}-data`);
  const places = { url: local(port), peerUrl: local(peerPort), directory };
  return startApp(rig, "proxy", { ...options, name }, places, {
    proxyCfg: { host: "127.0.0.1", port, ...upstreams(options) },
    clientCfg: {
      port: wirePort,
      peerHost: "127.0.0.1",
      peerPort,
      trackers: hosts(trackers),
      seeders: hosts(seeders),
      rootDirectory: directory,
      minFree: "1G",
    },
    ...(registries && { registries }),
  });
}

async function startApp(
  rig: Rig,
  app: AppName,
  { name = app, runtime = defaultRuntime(), within = [], config = {} }: PartOptions,
  places: { url: URL; peerUrl?: URL; directory?: string },
  own: Record<string, Record<string, unknown>>,
): Promise<EagleApp> {
  const sections = [...new Set([...Object.keys(own), ...Object.keys(config)])];
  const merged = Object.fromEntries(sections.map((key) => [key, { ...own[key], ...config[key] }]));
  const configFile = rig.path(`${name}.yaml`);
  await writeFile(configFile, stringify(merged));
  const part = new EagleApp(rig, { app, name, runtime, within, configFile, ...places });
  await part.start();
  return part;
}

function local(port: number): URL {
  return new URL(`http://127.0.0.1:${port}`);
}

function hosts(urls: readonly URL[]): string[] {
  return urls.map(({ host }) => host);
}

function upstreams({ origin, origins }: MemberOptions): { origin?: string; origins?: readonly string[] } {
  return { ...(origin !== undefined && { origin }), ...(origins && { origins }) };
}
