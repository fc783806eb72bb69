/** @module `GET /announce` (BEP 3, 7, 23) and `GET /scrape` (BEP 48). */
import { type Context, Hono } from "hono";
import type { ClusterAuth } from "../../../lib/cluster/cluster-auth.ts";
import type { TrackerProtocol } from "../../../lib/tracker/protocol.ts";
import { askerOf, type TrackerEnv } from "./env.ts";

/** What the routes need. */
export interface AnnounceRoutesInit {
  readonly protocol: TrackerProtocol;
  readonly cluster: ClusterAuth;
  readonly metrics?: { readonly announces: { inc(labels: { result: string }): void } };
}

/** Routes of standard clients. Failures are bencoded and have status 200, as BEP 3 wants. */
export function announceRoutes({ protocol, cluster, metrics }: AnnounceRoutesInit): Hono<TrackerEnv> {
  const answer = async (c: Context<TrackerEnv>, action: "announce" | "scrape") => {
    // Never c.req.query(): info hashes are binary, and URL parsing would take them for UTF-8.
    const target = c.env?.target ?? c.req.url;
    const { body, result } = await protocol.answer(action, target, askerOf(cluster, c));
    if (action === "announce") metrics?.announces.inc({ result });
    return new Response(new Uint8Array(body), {
      headers: { "content-type": "text/plain", "content-length": String(body.length), "cache-control": "no-store" },
    });
  };
  return new Hono<TrackerEnv>()
    .get("/announce", (c) => answer(c, "announce"))
    .get("/scrape", (c) => answer(c, "scrape"));
}
