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
import type { Logger } from "../../../lib/log/log.ts";
import type { Metrics } from "../../../lib/metrics/metrics.ts";
import { ociError } from "../../../lib/registry/errors.ts";

/** A fetch handler with the pieces of blobs, health and metrics. */
export function peerPortRoutes({
  host,
  client,
  metrics,
  log,
  ready,
}: {
  host: Host;
  client: EagleClient;
  metrics: Metrics;
  log: Logger;
  ready: () => boolean;
}): Hono<{ Bindings: RequestEnv }> {
  const app = new Hono<{ Bindings: RequestEnv }>();
  app.route("/", opsRoutes({ metrics, ready }));
  app.route(
    "/",
    peerRoutes({
      blobs: host.store,
      uploader: host.uploader,
      cluster: host.cluster,
      limiter: host.upLimiter,
      precedence: host.precedence,
      buffers: host.buffers,
      stopping: host.stopping,
      onBytes: (bytes) => metrics.bytes.inc({ source: "peer", direction: "out" }, bytes),
      onPeer: (digest, peer) => client.addFollower(digest, peer),
      piecesOf: (digest, peer) => client.piecesOf(digest, peer),
    }),
  );
  app.notFound(() => ociError(404, "UNSUPPORTED", "no such route; this port has /p2p/v1/blobs/, engines use another"));
  app.onError((error, c) => {
    if (!c.req.raw.signal.aborted) log.error("a request failed", { path: c.req.path, error });
    return ociError(500, "UNKNOWN", "internal error");
  });
  return app;
}
