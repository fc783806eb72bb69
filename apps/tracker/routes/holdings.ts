/** @module `POST /p2p/v1/holdings`: the heartbeat of a host, JSON both ways. */
import { Hono } from "hono";
import type { ClusterAuth } from "../../../lib/cluster/cluster-auth.ts";
import { BodyTooLargeError, readBytes } from "../../../lib/http/read-bytes.ts";
import { TrackerError } from "../../../lib/tracker/errors.ts";
import { MAX_MESSAGE_BYTES, parseHoldingsMessage } from "../../../lib/tracker/holdings-message.ts";
import type { TrackerProtocol } from "../../../lib/tracker/protocol.ts";
import { askerOf, type TrackerEnv } from "./env.ts";

/** What the route needs. */
export interface HoldingsRoutesInit {
  readonly protocol: TrackerProtocol;
  readonly cluster: ClusterAuth;
  readonly metrics?: { readonly requests: { inc(labels: { result: string }): void } };
}

/** 400 for a message that is none, 401 for a stranger in a closed cluster, 413 for one beyond 1 MiB, 503 when there is no room. */
export function holdingsRoutes({ protocol, cluster, metrics }: HoldingsRoutesInit): Hono<TrackerEnv> {
  return new Hono<TrackerEnv>().post("/p2p/v1/holdings", async (c) => {
    const refuse = (error: string, status: 400 | 401 | 413 | 503) => {
      metrics?.requests.inc({ result: status === 503 ? "full" : "refused" });
      return c.json({ error }, status);
    };
    try {
      const body = await readBytes(c.req.raw.body, MAX_MESSAGE_BYTES);
      const answer = await protocol.holdings(parseHoldingsMessage(body), askerOf(cluster, c));
      metrics?.requests.inc({ result: "ok" });
      return c.json(answer);
    } catch (error) {
      if (error instanceof BodyTooLargeError) return refuse(`a heartbeat has at most ${MAX_MESSAGE_BYTES} bytes`, 413);
      if (!(error instanceof TrackerError)) throw error;
      return refuse(error.message, error.code === "full" ? 503 : error.code === "refused" ? 401 : 400);
    }
  });
}
