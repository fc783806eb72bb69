/** @module `GET /healthz`, `/readyz`, `/metrics`. */
import { Hono } from "hono";
import type { SwarmStore } from "../../../lib/tracker/store.ts";
import type { TrackerEnv } from "./env.ts";

/** What the routes need. */
export interface HealthRoutesInit {
  readonly store: Pick<SwarmStore, "sizes">;
  /** False once the tracker is told to stop. */
  readonly ready: () => boolean;
  readonly metrics?: { render(): Promise<{ contentType: string; body: string }> };
}

/** Routes of people and machines that look after the tracker. */
export function healthRoutes({ store, ready, metrics }: HealthRoutesInit): Hono<TrackerEnv> {
  return new Hono<TrackerEnv>()
    .get("/healthz", (c) => c.text("ok\n"))
    .get("/readyz", (c) => (ready() ? c.text("ready\n") : c.text("stopping\n", 503)))
    .get("/metrics", async (c) => {
      if (metrics === undefined) return c.text("this tracker keeps no metrics\n", 404);
      const { contentType, body } = await metrics.render();
      const sizes = Object.entries(await store.sizes()).map(
        ([name, value]) => `# TYPE eagle_tracker_${name} gauge\neagle_tracker_${name} ${value}\n`,
      );
      return c.body(`${body.trimEnd()}\n${sizes.join("")}`, 200, { "content-type": contentType });
    });
}
