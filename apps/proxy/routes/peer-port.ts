/**
 * The port that other hosts use.
 * @module
 */
import { Hono } from "hono";
import type { PeerOfferInit } from "../../../lib/bt/peer-offer.ts";
import { peerRoutes } from "../../../lib/bt/peer-routes.ts";
import { opsRoutes } from "../../../lib/http/ops-routes.ts";
import type { RequestEnv } from "../../../lib/http/server.ts";
import type { Logger } from "../../../lib/log/log.ts";
import type { Metrics } from "../../../lib/metrics/metrics.ts";
import { ociError } from "../../../lib/registry/errors.ts";

/** A fetch handler with the pieces of blobs, health and metrics. */
export function peerPortRoutes({
  offer,
  metrics,
  log,
  ready,
}: {
  offer: PeerOfferInit;
  metrics: Metrics;
  log: Logger;
  ready: () => boolean;
}): Hono<{ Bindings: RequestEnv }> {
  const app = new Hono<{ Bindings: RequestEnv }>();
  app.route("/", opsRoutes({ metrics, ready }));
  app.route("/", peerRoutes(offer));
  app.notFound(() => ociError(404, "UNSUPPORTED", "no such route; this port has /p2p/v1/blobs/, engines use another"));
  app.onError((error, c) => {
    if (!c.req.raw.signal.aborted) log.error("a request failed", { path: c.req.path, error });
    return ociError(500, "UNKNOWN", "internal error");
  });
  return app;
}
