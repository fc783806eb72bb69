/**
 * @module A whole small cluster for a test: a real registry behind a counting proxy, a tracker, seeders and proxies.
 * The registry is known to Eagle as Docker Hub and as `registry.rig:5000`, since dockerd asks mirrors for names of the
 * Hub only and lets loopback registries bypass an HTTP proxy.
 */

import { type ContentKind, content } from "./blob-content.ts";
import { CountingProxy } from "./counting-proxy.ts";
import { type EagleApp, type MemberOptions, type Runtime, startProxy, startSeeder, startTracker } from "./eagle.ts";
import type { Descriptor } from "./image.ts";
import { type PushedImage, pushBlob, pushImage } from "./image.ts";
import type { LayerSpec } from "./layer.ts";
import { type Registry, type RegistryAuth, startRegistry } from "./registry.ts";
import type { Rig } from "./rig.ts";

/** The name by which absolute-form requests call the registry. */
export const registryName = "registry.rig:5000";

/** How many of each. */
export interface ClusterOptions {
  /** @default 1 */
  seeders?: number;
  /** @default 2 */
  proxies?: number;
  /** @default 1 */
  trackers?: number;
  /** Who may read the origin. @default everybody */
  auth?: RegistryAuth;
  /** An origin that runs already, instead of a new one. */
  registry?: Registry;
  runtime?: Runtime;
  /** Over the config of all trackers. */
  trackerConfig?: MemberOptions["config"];
  /** Over the config of all seeders. */
  seederConfig?: MemberOptions["config"];
  /** Over the config of all proxies. */
  proxyConfig?: MemberOptions["config"];
}

/** The parts, running. */
export class Cluster {
  readonly rig: Rig;
  readonly registry: Registry;
  /** What Eagle takes for the registry. */
  readonly origin: CountingProxy;
  readonly trackers: EagleApp[] = [];
  readonly seeders: EagleApp[] = [];
  readonly proxies: EagleApp[] = [];
  readonly #options: ClusterOptions;

  constructor(rig: Rig, registry: Registry, origin: CountingProxy, options: ClusterOptions) {
    this.rig = rig;
    this.registry = registry;
    this.origin = origin;
    this.#options = options;
  }

  get tracker(): EagleApp {
    return this.#first(this.trackers);
  }

  get seeder(): EagleApp {
    return this.#first(this.seeders);
  }

  /** A proxy by its number, from 0. */
  proxy(index = 0): EagleApp {
    return this.#first(this.proxies.slice(index));
  }

  /** Starts one more proxy; `overrides` stand instead of the cluster's own options of the same name. */
  async addProxy(overrides: Partial<MemberOptions> & { seeders?: readonly URL[] } = {}): Promise<EagleApp> {
    const name = `proxy-${this.proxies.length}`;
    const { proxyConfig: config, runtime } = this.#options;
    const proxy = await startProxy(this.rig, {
      ...this.#members(name, config, runtime),
      seeders: this.seeders.map(({ url }) => url),
      ...overrides,
    });
    this.proxies.push(proxy);
    return proxy;
  }

  /** Starts one more seeder; see `addProxy`. */
  async addSeeder(overrides: Partial<MemberOptions> = {}): Promise<EagleApp> {
    const name = `seeder-${this.seeders.length}`;
    const { seederConfig: config, runtime } = this.#options;
    const seeder = await startSeeder(this.rig, { ...this.#members(name, config, runtime), ...overrides });
    this.seeders.push(seeder);
    return seeder;
  }

  /** Starts one more tracker. Seeders and proxies started before do not know it. */
  async addTracker(): Promise<EagleApp> {
    const tracker = await startTracker(this.rig, {
      name: `tracker-${this.trackers.length}`,
      ...runtimeOf(this.#options),
      ...(this.#options.trackerConfig && { config: this.#options.trackerConfig }),
    });
    this.trackers.push(tracker);
    return tracker;
  }

  /** Makes an image at the origin, past the counting proxy. */
  pushImage(repository: string, layers: readonly LayerSpec[], authorization?: string): Promise<PushedImage> {
    const target = { registry: this.registry.url, repository, ...(authorization !== undefined && { authorization }) };
    return pushImage(target, { layers, seed: repository });
  }

  /** Makes a blob at the origin, past the counting proxy. */
  pushBlob(repository: string, size: number, init: { seed?: string; kind?: ContentKind; authorization?: string } = {}) {
    const { seed = "", kind = "random", authorization } = init;
    const target = { registry: this.registry.url, repository, ...(authorization !== undefined && { authorization }) };
    return pushBlob(target, content(kind, `${repository} ${size} ${seed}`, size)) as Promise<Descriptor>;
  }

  #members(name: string, config: MemberOptions["config"], runtime: Runtime | undefined): MemberOptions {
    const upstream = { upstream: this.origin.url.origin, plainHTTP: true };
    return {
      name,
      trackers: this.trackers.map(({ url }) => url),
      origin: "docker.io",
      origins: [registryName],
      registries: { "docker.io": upstream, [registryName]: upstream },
      ...(config && { config }),
      ...(runtime && { runtime }),
    };
  }

  #first(apps: readonly EagleApp[]): EagleApp {
    const [app] = apps;
    if (app === undefined) throw new Error("the cluster has no such part");
    return app;
  }
}

/** Starts a cluster. The rig ends it. */
export async function startCluster(rig: Rig, options: ClusterOptions = {}): Promise<Cluster> {
  const { seeders = 1, proxies = 2, trackers = 1, auth } = options;
  const registry = options.registry ?? (await startRegistry(rig, auth && { auth }));
  const origin = rig.use(await CountingProxy.start(registry.url));
  const cluster = new Cluster(rig, registry, origin, options);
  for (let index = 0; index < trackers; index++) await cluster.addTracker();
  for (let index = 0; index < seeders; index++) await cluster.addSeeder();
  for (let index = 0; index < proxies; index++) await cluster.addProxy();
  return cluster;
}

function runtimeOf({ runtime }: ClusterOptions): { runtime?: Runtime } {
  return runtime === undefined ? {} : { runtime };
}
