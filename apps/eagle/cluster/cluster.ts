/**
 * A whole Eagle in one process: a tracker, a seeder, and one proxy or more.
 * @module
 */
import { join } from "node:path";
import { loadConfig, proxyConfigSchema, seederConfigSchema, trackerConfigSchema } from "../../../lib/config/index.ts";
import { building, type Cleanup } from "../../../lib/lifecycle/cleanup.ts";
import type { Logger } from "../../../lib/log/log.ts";
import { type RunningProxy, startProxy } from "../../proxy/cmd/proxy.ts";
import { type RunningSeeder, startSeeder } from "../../seeder/cmd/seeder.ts";
import { type RunningTracker, startTracker } from "../../tracker/cmd/tracker.ts";

/** Where a proxy listens. Ports: 0 is any free one. */
export interface ProxyPlace {
  /** Also the name of its directory below the cluster's. */
  readonly name: string;
  /** Registry mirror, on loopback. */
  readonly port: number;
  readonly peerPort: number;
}

/** What to start. */
export interface ClusterInit {
  /** Registries; the first is the one of requests that name none. */
  readonly origins: readonly string[];
  /** Address of this host that tracker, seeder and peer ports listen at; others reach them there. */
  readonly host: string;
  readonly trackerPort: number;
  readonly seederPort: number;
  readonly proxies: readonly ProxyPlace[];
  /** Where blobs are kept, a directory for each part below it. */
  readonly directory: string;
  /** Most bytes of blobs in each of those directories. */
  readonly limitSize: number;
  /** Space of the disk left free: bytes or a percentage. @default "5%" */
  readonly minFree?: string;
  readonly log: Logger;
}

/** The parts, running. Closing it closes them, those first that use others. */
export interface Cluster extends AsyncDisposable {
  readonly tracker: RunningTracker;
  readonly seeder: RunningSeeder;
  /** In the order of the places. */
  readonly proxies: readonly RunningProxy[];
}

/** @throws ConfigError; StorageError; the runtime's error when an address cannot be bound. Nothing runs then. */
export async function startCluster(init: ClusterInit): Promise<Cluster> {
  return await building((cleanup) => build(cleanup, init));
}

async function build(cleanup: Cleanup, init: ClusterInit): Promise<Cluster> {
  const { host, log, limitSize, minFree = "5%" } = init;
  const [origin, ...origins] = init.origins;
  const tracker = await startTracker(
    loadConfig(trackerConfigSchema, { app: "tracker", object: { trackerCfg: { host, port: init.trackerPort } } }),
    { log: log.child({ part: "tracker" }) },
  );
  cleanup.defer(() => tracker.close());
  // What all that share blobs have in common. The wire is off: its ports are not needed inside one host.
  const sharing = (name: string) => ({
    trackers: [tracker.url],
    rootDirectory: join(init.directory, name),
    limitSize,
    minFree,
    bittorrent: false,
  });
  const seeder = await startSeeder(
    loadConfig(seederConfigSchema, {
      app: "seeder",
      object: { seederCfg: { ...sharing("seeder"), origin, origins }, daemonCfg: { host, port: init.seederPort } },
    }),
    { log: log.child({ part: "seeder" }) },
  );
  cleanup.defer(() => seeder.close());
  const proxies: RunningProxy[] = [];
  for (const { name, port, peerPort } of init.proxies) {
    const object = {
      clientCfg: { ...sharing(name), peerHost: host, peerPort, seeders: [seeder.url] },
      proxyCfg: { port, origin, origins },
    };
    const config = loadConfig(proxyConfigSchema, { app: "proxy", object });
    const proxy = await startProxy(config, { log: log.child({ part: name }) });
    cleanup.defer(() => proxy.close());
    proxies.push(proxy);
  }
  return { tracker, seeder, proxies, [Symbol.asyncDispose]: () => cleanup.close() };
}
