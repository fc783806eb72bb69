/** @module What the tracker's routes know of a request beside the request itself. */
import type { Context } from "hono";
import type { ClusterAuth } from "../../../lib/cluster/cluster-auth.ts";
import { isPartRequest } from "../../../lib/cluster/received.ts";
import type { RequestEnv } from "../../../lib/http/server.ts";
import type { Asker } from "../../../lib/tracker/protocol.ts";

/** Hono's environment: `c.env` is what the listener says of the connection; a bare `app.request()` says nothing. */
export interface TrackerEnv {
  Bindings: Partial<RequestEnv> | undefined;
}

/** Who asks: the address of its socket, and whether it is a part of the cluster. */
export function askerOf(cluster: ClusterAuth, c: Context<TrackerEnv>): Asker {
  const {
    remoteAddress = "",
    remotePort = 0,
    localAddress = "",
    localPort = 0,
    secure = false,
    target = "",
    certified = false,
  } = c.env ?? {};
  const env = { remoteAddress, remotePort, localAddress, localPort, secure, target, certified };
  return { remoteAddress, isPart: isPartRequest(cluster, c.req.raw, env) };
}
