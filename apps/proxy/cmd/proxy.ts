/**
 * Starts a proxy: from the command line, or inside another process (`eagle up`).
 * @module
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { AccessChecker } from "../../../lib/access/access.ts";
import { BanList } from "../../../lib/bt/ban-list.ts";
import { EagleClient } from "../../../lib/bt/eagle-client.ts";
import { createHost } from "../../../lib/bt/host.ts";
import { peerDirect } from "../../../lib/bt/peer-direct.ts";
import type { PeerOfferInit } from "../../../lib/bt/peer-offer.ts";
import { impatientMs } from "../../../lib/bt/time-bounds.ts";
import { ClusterHttp } from "../../../lib/cluster/cluster-http.ts";
import { clusterAuth } from "../../../lib/cluster/from-config.ts";
import { type ProxyConfig, registryInits } from "../../../lib/config/index.ts";
import { serve } from "../../../lib/http/server.ts";
import { building, type Cleanup } from "../../../lib/lifecycle/cleanup.ts";
import type { Logger } from "../../../lib/log/log.ts";
import { openManifests } from "../../../lib/manifests/open-manifests.ts";
import { createMetrics, type Metrics } from "../../../lib/metrics/metrics.ts";
import { Upstreams } from "../../../lib/registry/upstreams.ts";
import { MetaInfoClient } from "../../../lib/rpc/client.ts";
import { peerPortRoutes } from "../routes/peer-port.ts";
import { registryRoutes } from "../routes/registry.ts";
import { connectHandlers } from "./connect.ts";
import type { ProxyParts } from "./parts.ts";

/** Requests under way when the proxy stops may take so long, ms. */
const GRACE_MS = 10_000;

/** A running proxy. */
export interface RunningProxy {
  /** The registry port, for engines. */
  readonly url: string;
  readonly port: number;
  readonly peerPort: number;
  readonly metrics: Metrics;
  close(): Promise<void>;
}

/**
 * Starts a proxy. Port 0 takes any free port.
 * @throws the runtime's error when an address cannot be bound; StorageError when the root directory cannot be used.
 */
export async function startProxy(config: ProxyConfig, context: { log: Logger }): Promise<RunningProxy> {
  return await building((cleanup) => build(cleanup, config, context));
}

async function build(cleanup: Cleanup, config: ProxyConfig, { log }: { log: Logger }): Promise<RunningProxy> {
  const { clientCfg, proxyCfg } = config;
  const metrics = createMetrics("proxy");
  const via = `1.1 eagle-${randomBytes(6).toString("hex")}`;
  let ready = false;
  const cluster = clusterAuth(config.cluster, { advertise: clientCfg.advertise, log });
  const host = cleanup.use(await createHost(clientCfg, { log, metrics, cluster, via }));
  const { bounds } = host;
  const upstreams = new Upstreams({
    origin: proxyCfg.origin,
    origins: proxyCfg.origins,
    registries: registryInits(config.registries),
    log,
  });
  const metainfo =
    clientCfg.seeders.length > 0
      ? cleanup.use(
          new MetaInfoClient({
            seeders: clientCfg.seeders,
            policy: clientCfg.policy,
            // A seeder gives a sign of life each second.
            deadlineMs: impatientMs(bounds),
            progressTimeoutMs: bounds.idleMs,
            onTimeout: (bound) => metrics.timeouts.inc({ bound }),
            cluster,
            log,
          }),
        )
      : undefined;

  // The peer port is bound first: trackers are told the port that was bound.
  const offer: PeerOfferInit = {
    ...host.offer,
    onPeer: (digest, peer) => client.addFollower(digest, peer),
    piecesOf: (digest, peer) => client.piecesOf(digest, peer),
    pieceMs: (digest) => client.pieceMs(digest),
  };
  const peers = await serve({
    host: clientCfg.peerHost,
    port: clientCfg.peerPort,
    direct: peerDirect(offer),
    fetch: (request, env) => peerApp.fetch(request, env),
    ...tlsOf(cluster.serverTls()),
    log,
  });
  cleanup.defer(() => {
    host.stop();
    return peers.close({ graceMs: GRACE_MS });
  });
  const swarm = cleanup.use(host.join(peers.port));
  const client = new EagleClient(host.store, {
    metainfo,
    tracker: swarm.tracker,
    pool: host.pool,
    http: host.http,
    cluster,
    bans: new BanList(),
    downLimiter: host.downLimiter,
    bounds,
    maxSize: clientCfg.limitSize,
    peerId: host.peerIdHex,
    peerPort: peers.port,
    wire: host.wire,
    log,
    metrics,
  });
  const peerApp = peerPortRoutes({ offer, metrics, log, ready: () => ready });
  await host.wire?.listen({ host: clientCfg.peerHost, port: clientCfg.port });
  await host.start();

  const access = new AccessChecker({
    origins: host.origins,
    policy: proxyCfg.authorize === "always" ? "always" : "private",
    timeoutMs: bounds.firstByteMs,
    log,
  });
  const parts: ProxyParts = {
    upstreams,
    origins: host.origins,
    access,
    manifests: cleanup.use(
      openManifests({
        directory: join(clientCfg.rootDirectory, "manifests"),
        limitSize: clientCfg.limitSize,
        origins: host.origins,
        timeoutMs: bounds.firstByteMs,
        access,
        seeders: clientCfg.seeders,
        http: new ClusterHttp(host.http, cluster),
        authorize: proxyCfg.authorize,
        staleTags: proxyCfg.staleTags,
        log,
      }),
    ),
    store: host.store,
    client,
    buffers: host.buffers,
    metrics,
    log,
    via,
    rules: proxyCfg.rules,
    allowClients: proxyCfg.allowClients,
    authorize: proxyCfg.authorize,
    bounds,
    ready: () => ready,
  };
  const app = registryRoutes(parts);
  const registry = await serve({
    host: proxyCfg.host,
    port: proxyCfg.port,
    fetch: (request, env) => app.fetch(request, env),
    ...connectHandlers(proxyCfg, { upstreams, connectTimeoutMs: bounds.dialMs, log }),
    ...(proxyCfg.certFile && proxyCfg.keyFile
      ? { tls: { cert: proxyCfg.certFile.content, key: proxyCfg.keyFile.content } }
      : {}),
    log,
  });
  cleanup.defer(() => registry.close({ graceMs: GRACE_MS }));
  ready = true;
  log.info("proxy listens", { url: registry.url, peers: peers.url, blobs: [...host.store.offered()].length });
  return {
    url: registry.url,
    port: registry.port,
    peerPort: peers.port,
    metrics,
    async close() {
      ready = false;
      await cleanup.close();
    },
  };
}

function tlsOf<T>(tls: T | undefined): { tls?: T } {
  return tls === undefined ? {} : { tls };
}
