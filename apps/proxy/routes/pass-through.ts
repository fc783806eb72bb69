/**
 * Requests that are none of Eagle's business: streamed to the registry and back.
 * @module
 */
import { Readable } from "node:stream";
import type { ReadableStream as NodeReadableStream } from "node:stream/web";
import { ociError, RegistryError } from "../../../lib/registry/errors.ts";
import type { Caller, OriginClient } from "../../../lib/registry/origin-client.ts";
import type { Upstream } from "../../../lib/registry/upstreams.ts";

/** RFC 9110, 7.6.1: these concern one connection only. */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "host",
  "expect",
]);

/** In whose name a request of a client goes to the registry: its own, or what the operator configured. */
function callerOf(request: Request, upstream: Upstream): Caller {
  const authorization = request.headers.get("authorization") ?? undefined;
  if (authorization === undefined && upstream.credentials) return { kind: "configured" };
  return { kind: "caller", authorization };
}

/**
 * In whose name a blob or manifest is read: as {@link callerOf}, but who shows no credentials gets what anyone may read,
 * without having to fetch a token first.
 */
export function readerOf(request: Request, upstream: Upstream): Caller {
  const caller = callerOf(request, upstream);
  return caller.kind === "caller" && caller.authorization === undefined ? { kind: "anonymous" } : caller;
}

/**
 * Sends the request on. The answer is the registry's own; 502 or 504 with an OCI error body when there is none.
 * @param init.path Path and query at the registry.
 * @param init.caller In whose name. @default callerOf(request, upstream)
 * @param init.via This proxy's entry for `Via`.
 */
export async function passThrough(
  request: Request,
  {
    origins,
    upstream,
    path,
    via,
    caller = callerOf(request, upstream),
  }: { origins: OriginClient; upstream: Upstream; path: string; via: string; caller?: Caller },
): Promise<Response> {
  const headers: Record<string, string> = {};
  const ownHop = namedByConnection(request.headers);
  for (const [name, value] of request.headers)
    if (!HOP_BY_HOP.has(name) && !ownHop.has(name) && name !== "authorization") headers[name] = value;
  headers.via = [request.headers.get("via"), via].filter(Boolean).join(", ");
  try {
    const answer = await origins.request(upstream, {
      method: request.method,
      path,
      headers,
      caller,
      ...(request.body ? { body: Readable.fromWeb(request.body as NodeReadableStream) } : {}),
      signal: request.signal,
    });
    const answered = new Headers(answer.headers);
    for (const name of [...HOP_BY_HOP, ...namedByConnection(answer.headers)]) answered.delete(name);
    const empty = request.method === "HEAD" || answer.status === 204 || answer.status === 304;
    if (empty) answer.body.destroy();
    const body = empty ? null : (Readable.toWeb(answer.body) as ReadableStream<Uint8Array>);
    return new Response(body, { status: answer.status, headers: answered });
  } catch (error) {
    return unavailable(error, upstream);
  }
}

/** RFC 9110, 7.6.1: what `Connection` names is for the one connection as well. The body's length and kind are not. */
function namedByConnection(headers: Headers): Set<string> {
  const names = (headers.get("connection") ?? "").split(",").map((name) => name.trim().toLowerCase());
  return new Set(names.filter((name) => /^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name) && !name.startsWith("content-")));
}

/** The answer when the registry gives none. */
export function unavailable(error: unknown, upstream: Upstream): Response {
  const timeout = error instanceof RegistryError && error.code === "timeout";
  const message = `${upstream.name} cannot be reached: ${error instanceof Error ? error.message : String(error)}`;
  return ociError(timeout ? 504 : 502, "UNAVAILABLE", message);
}
