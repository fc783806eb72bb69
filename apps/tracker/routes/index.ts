/** @module The tracker as a fetch handler: all routes on one port. */
import { Hono } from "hono";
import { ClusterAuth } from "../../../lib/cluster/cluster-auth.ts";
import { type Logger, silentLogger } from "../../../lib/log/log.ts";
import type { Metrics } from "../../../lib/metrics/metrics.ts";
import { MemorySwarmStore } from "../../../lib/tracker/memory-store.ts";
import { TrackerProtocol } from "../../../lib/tracker/protocol.ts";
import type { SwarmStore } from "../../../lib/tracker/store.ts";
import { announceRoutes } from "./announce.ts";
import type { TrackerEnv } from "./env.ts";
import { healthRoutes } from "./health.ts";
import { holdingsRoutes } from "./holdings.ts";

/** How a tracker is made. */
export interface TrackerAppInit {
  /** Closed by whoever made it. @default one in memory, with `now` and `random` */
  readonly store?: SwarmStore;
  /** Told to peers, seconds. @default 60 */
  readonly interval?: number;
  /** Tells the cluster's own parts. @default everybody is a stranger */
  readonly cluster?: ClusterAuth;
  readonly log?: Logger;
  readonly metrics?: Pick<Metrics, "announces" | "requests" | "render">;
  /** Monotonic clock of the default store, ms. */
  readonly now?: () => number;
  /** Randomness of the default store, 0..1. */
  readonly random?: () => number;
  /** For `/readyz`. @default always ready */
  readonly ready?: () => boolean;
}

/**
 * The tracker's routes. The second argument of its `fetch` is the listener's `RequestEnv`: without the peer's address
 * announces are refused.
 */
export function createTrackerApp({
  now,
  random,
  store = new MemorySwarmStore({ ...(now && { now }), ...(random && { random }) }),
  interval = 60,
  cluster = new ClusterAuth(),
  log = silentLogger,
  metrics,
  ready = () => true,
}: TrackerAppInit = {}): Hono<TrackerEnv> {
  const protocol = new TrackerProtocol({ store, interval, isClosed: cluster.closed });
  const counted = metrics === undefined ? {} : { metrics };
  const app = new Hono<TrackerEnv>()
    .route("/", announceRoutes({ protocol, cluster, ...counted }))
    .route("/", holdingsRoutes({ protocol, cluster, ...counted }))
    .route("/", healthRoutes({ store, ready, ...counted }));
  app.notFound((c) => c.text("no such route; a tracker has /announce and /scrape\n", 404));
  app.onError((error, c) => {
    log.error("request failed", { path: c.req.path, error });
    return c.text("internal error\n", 500);
  });
  return app;
}
