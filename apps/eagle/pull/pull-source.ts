/**
 * Where `eagle get` takes bytes from: a proxy that runs somewhere, one inside this process, or the registry itself.
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig, proxyConfigSchema, registryInits } from "../../../lib/config/index.ts";
import { HttpClient } from "../../../lib/http/client.ts";
import { building } from "../../../lib/lifecycle/cleanup.ts";
import type { Logger } from "../../../lib/log/log.ts";
import { OriginClient } from "../../../lib/registry/origin-client.ts";
import { type Upstream, Upstreams } from "../../../lib/registry/upstreams.ts";
import { startProxy } from "../../proxy/cmd/proxy.ts";
import { receivedBySource } from "./received.ts";
import { RegistryReader } from "./registry-reader.ts";
import type { Target } from "./target.ts";

/** See the module. */
export interface PullSource extends AsyncDisposable {
  readonly reader: RegistryReader;
  /** Bytes that came so far, by where they came from. */
  bySource(): Promise<Readonly<Record<string, number>>>;
}

/** How to get there. */
export interface PullSourceInit {
  readonly target: Pick<Target, "registry" | "origin">;
  /** A running proxy; nothing else is used then. */
  readonly proxy?: URL | undefined;
  /** `host[:port]` or URLs. With a seeder, a tracker or a data directory, an EagleClient runs in this process. */
  readonly seeders: readonly string[];
  readonly trackers: readonly string[];
  /** Where that EagleClient keeps blobs. @default a temporary directory, removed at the end */
  readonly data?: string | undefined;
  /** The registry's entry in a proxy's `registries`: plainHTTP, ca, username, passwordFile. */
  readonly registry: Readonly<Record<string, unknown>>;
  readonly log: Logger;
}

/** @throws ConfigError, UpstreamError; StorageError when the data directory cannot be used */
export async function openPullSource(init: PullSourceInit): Promise<PullSource> {
  const { target, proxy, seeders, trackers, data, registry, log } = init;
  const name = target.registry;
  const object = {
    clientCfg: { seeders, trackers, bittorrent: false, peerPort: 0 },
    proxyCfg: { port: 0, origin: target.origin ?? name },
    registries: Object.keys(registry).length > 0 ? { [name]: registry } : {},
  };
  // The proxy's own schema checks the flags, also when no proxy is started.
  const config = loadConfig(proxyConfigSchema, { app: "proxy", object });
  const upstreams = new Upstreams({ origin: object.proxyCfg.origin, registries: registryInits(config.registries) });
  const upstream = upstreams.default!;
  if (proxy) return await reading({ ...upstream, mirrors: [], base: new URL(proxy.origin) }, { ns: name, log });
  if (seeders.length + trackers.length === 0 && data === undefined) return await reading(upstream, { log });

  return await building(async (cleanup) => {
    const rootDirectory = data ?? (await mkdtemp(join(tmpdir(), "eagle-get-")));
    if (data === undefined) cleanup.defer(() => rm(rootDirectory, { recursive: true, force: true }));
    const inside = await startProxy({ ...config, clientCfg: { ...config.clientCfg, rootDirectory } }, { log });
    cleanup.defer(() => inside.close());
    const { base: _, credentials: __, mirrors: ___, ...rest } = upstream;
    const source = cleanup.use(await reading({ ...rest, base: new URL(inside.url) }, { log }));
    return {
      reader: source.reader,
      bySource: () => receivedBySource(inside.metrics),
      [Symbol.asyncDispose]: () => cleanup.close(),
    };
  });
}

async function reading(upstream: Upstream, { ns, log }: { ns?: string; log: Logger }): Promise<PullSource> {
  const http = new HttpClient();
  const reader = new RegistryReader({ client: new OriginClient({ http, log }), upstream, ns });
  return { reader, bySource: async () => ({ ...reader.received }), [Symbol.asyncDispose]: () => http.close() };
}
