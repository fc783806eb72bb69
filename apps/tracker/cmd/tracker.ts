/**
 * Starts a tracker: from the command line, or inside another process (`eagle up`).
 * @module
 */
import { clusterAuth } from "../../../lib/cluster/from-config.ts";
import type { TrackerConfig } from "../../../lib/config/tracker.ts";
import { serve } from "../../../lib/http/server.ts";
import type { Logger } from "../../../lib/log/log.ts";
import { createMetrics } from "../../../lib/metrics/metrics.ts";
import { MemorySwarmStore } from "../../../lib/tracker/memory-store.ts";
import { createTrackerApp } from "../routes/index.ts";

/** Requests that are under way when the tracker stops may take so long, ms. */
const GRACE_MS = 5_000;

/** A running tracker. */
export interface RunningTracker {
  /** Where it can be reached from this host, for `clientCfg.trackers`. */
  readonly url: string;
  readonly port: number;
  /** Takes no more work, finishes what is under way, forgets everything. */
  close(): Promise<void>;
}

/**
 * Starts a tracker. Port 0 takes any free port.
 * @throws the runtime's error when the address cannot be bound
 */
export async function startTracker(config: TrackerConfig, { log }: { log: Logger }): Promise<RunningTracker> {
  const { host, port, interval, certFile, keyFile } = config.trackerCfg;
  const store = new MemorySwarmStore();
  let ready = true;
  const cluster = clusterAuth(config.cluster, { log });
  const tls = cluster.serverTls(certFile && keyFile ? { cert: certFile.content, key: keyFile.content } : undefined);
  const metrics = createMetrics("tracker");
  const app = createTrackerApp({ store, interval, cluster, log, metrics, ready: () => ready });
  const listener = await serve({
    host,
    port,
    fetch: (request, env) => app.fetch(request, env),
    ...(tls ? { tls } : {}),
    log,
  });
  log.info("tracker listens", { url: listener.url, interval });
  const url = listener.url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:");
  return {
    url,
    port: listener.port,
    async close() {
      ready = false;
      await listener.close({ graceMs: GRACE_MS });
      await store.close();
    },
  };
}
