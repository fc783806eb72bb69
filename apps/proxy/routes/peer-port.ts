/**
 * The port that other hosts use.
 * @module
 */
import { Hono } from "hono";
import type { EagleClient } from "../../../lib/bt/eagle-client.ts";
import type { Host } from "../../../lib/bt/host.ts";
import { peerRoutes } from "../../../lib/bt/peer-routes.ts";
import { opsRoutes } from "../../../lib/http/ops-routes.ts";
import type { RequestEnv } from "../../../lib/http/server.ts";
import type { Metrics } from "../../../lib/metrics/metrics.ts";

/** A fetch handler with the pieces of public blobs, health and metrics. */
export function peerPortRoutes({
  host,
  client,
  metrics,
  ready,
}: {
  host: Host;
  client: EagleClient;
  metrics: Metrics;
  ready: () => boolean;
}): Hono<{ Bindings: RequestEnv }> {
  const app = new Hono<{ Bindings: RequestEnv }>();
  app.route("/", opsRoutes({ metrics, ready }));
  app.route(
    "/",
    peerRoutes({
      blobs: host.store,
      uploader: host.uploader,
      limiter: host.upLimiter,
      buffers: host.buffers,
      onBytes: (bytes) => metrics.bytes.inc({ source: "peer", direction: "out" }, bytes),
      onPeer: (digest, peer) => client.addPeer(digest, peer),
    }),
  );
  return app;
}
