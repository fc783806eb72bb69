/**
 * A cluster in this process: a registry, a tracker, a seeder and proxies, each on ports of its own on loopback.
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningProxy, startProxy } from "../../apps/proxy/cmd/proxy.ts";
import { type RunningSeeder, startSeeder } from "../../apps/seeder/cmd/seeder.ts";
import { type RunningTracker, startTracker } from "../../apps/tracker/cmd/tracker.ts";
import { prng } from "../../lib/bt/testing/blobs.ts";
import { loadConfig, proxyConfigSchema, seederConfigSchema, trackerConfigSchema } from "../../lib/config/index.ts";
import { createLogger, silentLogger } from "../../lib/log/log.ts";
import { type Registry, startRegistry } from "./registry.ts";

const log = process.env.EAGLE_TEST_LOG ? createLogger({ level: "debug", format: "text" }) : silentLogger;

/** Which parts there are, and how they differ from the usual. */
export interface ClusterInit {
  /** @default 1 */
  readonly proxies?: number;
  /** @default true */
  readonly seeder?: boolean;
  readonly clientCfg?: Record<string, unknown>;
  readonly proxyCfg?: Record<string, unknown>;
  readonly seederCfg?: Record<string, unknown>;
  readonly registries?: Record<string, unknown>;
  /** The section `cluster` of all parts. */
  readonly cluster?: Record<string, unknown>;
}

export interface Cluster extends AsyncDisposable {
  readonly registry: Registry;
  readonly tracker: RunningTracker;
  readonly seeder: RunningSeeder | undefined;
  readonly proxies: RunningProxy[];
  /** Another proxy, or one in the place of an earlier one, on its directory; sections merged over the usual. */
  addProxy(index?: number, sections?: Record<string, Record<string, unknown>>): Promise<RunningProxy>;
  /** URL of a blob at a proxy's mirror. */
  blobUrl(proxy: RunningProxy, blob: { repository: string; digest: string }): string;
}

export async function startCluster({
  proxies = 1,
  seeder = true,
  clientCfg,
  proxyCfg,
  seederCfg,
  registries,
  cluster: section = {},
}: ClusterInit = {}): Promise<Cluster> {
  await using cleanup = new AsyncDisposableStack();
  const root = await mkdtemp(join(tmpdir(), "eagle-cluster-"));
  cleanup.defer(() => rm(root, { recursive: true, force: true }));
  const registry = cleanup.use(await startRegistry());
  const tracker = await startTracker(
    loadConfig(trackerConfigSchema, {
      app: "tracker",
      object: { trackerCfg: { host: "127.0.0.1", port: 0 }, cluster: section },
    }),
    { log },
  );
  cleanup.defer(() => tracker.close());
  const common = { bittorrent: false, trackers: [tracker.url], limitSize: "64M", minFree: "1M" };
  const running = seeder
    ? await startSeeder(
        loadConfig(seederConfigSchema, {
          app: "seeder",
          object: {
            seederCfg: { ...common, origin: registry.url, rootDirectory: join(root, "seeder"), ...seederCfg },
            daemonCfg: { host: "127.0.0.1", port: 0 },
            registries: registries ?? {},
            cluster: section,
          },
        }),
        { log },
      )
    : undefined;
  if (running) cleanup.defer(() => running.close());
  const list: RunningProxy[] = [];
  const addProxy = async (index = list.length, sections: Record<string, Record<string, unknown>> = {}) => {
    const proxy = await startProxy(
      loadConfig(proxyConfigSchema, {
        app: "proxy",
        object: {
          clientCfg: {
            ...common,
            peerHost: "127.0.0.1",
            peerPort: 0,
            seeders: running ? [running.url] : [],
            rootDirectory: join(root, `proxy-${index}`),
            ...clientCfg,
            ...sections.clientCfg,
          },
          proxyCfg: { host: "127.0.0.1", port: 0, origin: registry.url, ...proxyCfg, ...sections.proxyCfg },
          registries: registries ?? {},
          cluster: sections.cluster ?? section,
        },
      }),
      { log },
    );
    list[index] = proxy;
    return proxy;
  };
  cleanup.defer(async () => void (await Promise.all(list.map((proxy) => proxy.close()))));
  for (let index = 0; index < proxies; index++) await addProxy();
  const stack = cleanup.move();
  return {
    registry,
    tracker,
    seeder: running,
    proxies: list,
    addProxy,
    blobUrl: (proxy, { repository, digest }) => `${proxy.url}/v2/${repository}/blobs/${digest}`,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Bytes that no two tests share. */
export function randomBytes(size: number, seed: number): Uint8Array {
  const random = prng(seed);
  const bytes = new Uint8Array(size);
  const words = new Uint32Array(bytes.buffer, 0, size >> 2);
  for (let index = 0; index < words.length; index++) words[index] = random() * 2 ** 32;
  return bytes;
}

/** Waits for what other parts bring about. @throws Error after 10 s. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error("it did not come to pass");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
