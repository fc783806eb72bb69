/**
 * @module
 * What every app answers to its operator, on each of its ports: `/healthz`, `/readyz`, `/metrics`.
 */
import { Hono } from "hono";
import type { Metrics } from "../metrics/metrics.ts";

/**
 * @param init.ready false while starting or stopping: `/readyz` answers 503 then
 * @example app.route("/", opsRoutes({ metrics, ready: () => true }))
 */
export function opsRoutes({ metrics, ready }: { metrics: Pick<Metrics, "render">; ready: () => boolean }): Hono {
  const app = new Hono();
  app.get("/healthz", (c) => c.text("ok\n"));
  app.get("/readyz", (c) => (ready() ? c.text("ready\n") : c.text("not ready\n", 503)));
  app.get("/metrics", async (c) => {
    const { contentType, body } = await metrics.render();
    return c.body(body, 200, { "content-type": contentType, "cache-control": "no-store" });
  });
  return app;
}
