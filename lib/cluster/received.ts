/**
 * What {@link ClusterAuth.isPart} is asked about, from the requests of this house's listeners.
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Http2ServerRequest } from "node:http2";
import { requestEnv } from "../http/fetch-request.ts";
import type { RequestEnv } from "../http/server.ts";
import { AS_HEADER, type ClusterAuth } from "./cluster-auth.ts";

/** Whether a part sent this fetch request. @param env Of the listener. */
export function isPartRequest(cluster: ClusterAuth, request: Request, env: RequestEnv): boolean {
  if (!cluster.closed) return false;
  return cluster.isPart(
    {
      method: request.method,
      authority: new URL(request.url).host,
      target: env.target,
      authorization: request.headers.get("authorization"),
      as: request.headers.get(AS_HEADER),
    },
    env,
  );
}

/** The same of a Node request. */
export function isPartNodeRequest(cluster: ClusterAuth, req: IncomingMessage | Http2ServerRequest): boolean {
  if (!cluster.closed) return false;
  const authority = ("authority" in req ? req.authority : undefined) || req.headers.host || "";
  const { authorization, [AS_HEADER]: as } = req.headers;
  return cluster.isPart(
    { method: req.method ?? "", authority, target: req.url ?? "", authorization, as: String(as ?? "") },
    requestEnv(req),
  );
}
