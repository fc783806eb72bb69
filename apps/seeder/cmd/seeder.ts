/**
 * Starts a seeder: from the command line, or inside another process (`eagle up`).
 * @module
 */
import { join } from "node:path";
import { createHost } from "../../../lib/bt/host.ts";
import { peerDirect } from "../../../lib/bt/peer-direct.ts";
import { SeederService } from "../../../lib/bt/seeder-service.ts";
import type { SharedFills } from "../../../lib/bt/sharing/shared-fills.ts";
import { clusterAuth } from "../../../lib/cluster/from-config.ts";
import { registryInits, type SeederConfig } from "../../../lib/config/index.ts";
import { serve } from "../../../lib/http/server.ts";
import { building, type Cleanup } from "../../../lib/lifecycle/cleanup.ts";
import type { Logger } from "../../../lib/log/log.ts";
import { openPublicManifests } from "../../../lib/manifests/open-manifests.ts";
import { createMetrics, type Metrics } from "../../../lib/metrics/metrics.ts";
import { Upstreams } from "../../../lib/registry/upstreams.ts";
import { metaInfoHandler } from "../../../lib/rpc/handler.ts";
import { seederRoutes } from "../routes/index.ts";
import { joinSeeders, openStorage } from "./storage.ts";

/** Requests under way when the seeder stops may take so long, ms. */
const GRACE_MS = 10_000;
/** What was begun is finished, whoever leaves: reads end by their own timeouts, ms. */
const FINISH_MS = 24 * 3600 * 1000;

/** A running seeder. */
export interface RunningSeeder {
  readonly url: string;
  readonly port: number;
  readonly metrics: Metrics;
  close(): Promise<void>;
}

/**
 * Starts a seeder. Port 0 takes any free port.
 * @throws the runtime's error when the address cannot be bound; StorageError when the root directory or the bucket cannot be used.
 */
export async function startSeeder(config: SeederConfig, context: { log: Logger }): Promise<RunningSeeder> {
  return await building((cleanup) => build(cleanup, config, context));
}

async function build(cleanup: Cleanup, config: SeederConfig, { log }: { log: Logger }): Promise<RunningSeeder> {
  const { seederCfg, daemonCfg } = config;
  const metrics = createMetrics("seeder");
  let ready = false;
  const cluster = clusterAuth(config.cluster, { advertise: seederCfg.advertise, log });
  const storage = await openStorage(config, log);
  let sharing: SharedFills | undefined;
  const host = cleanup.use(
    await createHost(seederCfg, {
      log,
      metrics,
      cluster,
      abandonAfterMs: FINISH_MS,
      storage,
      remoteLimit: seederCfg.s3.evict,
      isStoredByOther: async (blob) => (await sharing?.isStoredByOther(blob)) ?? false,
    }),
  );
  await host.wire?.listen({ host: daemonCfg.host, port: seederCfg.port });
  await host.start();
  const upstreams = new Upstreams({
    origin: seederCfg.origin,
    origins: seederCfg.origins,
    registries: registryInits(config.registries),
    log,
  });
  const { manifests, store: manifestStore } = openPublicManifests({
    directory: join(seederCfg.rootDirectory, "manifests"),
    limitSize: seederCfg.limitSize,
    origins: host.origins,
    tagTtlMs: seederCfg.tagTTL * 1000,
    timeoutMs: host.bounds.firstByteMs,
    log,
  });
  cleanup.use(manifestStore);
  const service = new SeederService({
    store: host.store,
    origins: host.origins,
    upstreams,
    downLimiter: host.downLimiter,
    maxSize: seederCfg.limitSize,
    announce: seederCfg.trackers.map((tier) => tier.map((url) => url.href)),
    bounds: host.bounds,
    sharing: () => sharing,
    onTorrent: (blob) => host.wire?.advertise(blob),
    log,
    metrics,
  });
  const stopping = new AbortController();
  const link = storage.remote?.link;
  const offer = { ...host.offer, ...(link && { link }) };
  const app = seederRoutes({ host, service, manifests, upstreams, metrics, log, ready: () => ready, offer });
  const { certFile, keyFile } = daemonCfg;
  const tls = cluster.serverTls(certFile && keyFile ? { cert: certFile.content, key: keyFile.content } : undefined);
  const listener = await serve({
    host: daemonCfg.host,
    port: daemonCfg.port,
    node: metaInfoHandler(service, { signal: stopping.signal, cluster, log }),
    direct: peerDirect(offer),
    fetch: (request, env) => app.fetch(request, env),
    ...(tls ? { tls } : {}),
    log,
  });
  cleanup.defer(async () => {
    const closing = listener.close({ graceMs: GRACE_MS });
    stopping.abort();
    host.stop();
    await closing;
  });
  const { tracker } = cleanup.use(host.join(listener.port));
  sharing = await joinSeeders({ config, storage, host, tracker, port: listener.port, log, metrics });
  if (sharing) cleanup.use(sharing);
  ready = true;
  log.info("seeder listens", { url: listener.url, blobs: [...host.store.offered()].length });
  return {
    url: listener.url,
    port: listener.port,
    metrics,
    async close() {
      ready = false;
      await cleanup.close();
    },
  };
}
