/**
 * The port that engines use: a registry mirror (requests in origin-form) and an HTTP proxy (absolute-form).
 * @module
 */
import { Hono } from "hono";
import { opsRoutes } from "../../../lib/http/ops-routes.ts";
import type { RequestEnv } from "../../../lib/http/server.ts";
import { ociError } from "../../../lib/registry/errors.ts";
import { parsePath } from "../../../lib/registry/reference.ts";
import type { Upstream } from "../../../lib/registry/upstreams.ts";
import type { ProxyParts } from "../cmd/parts.ts";
import { type BlobQuery, direct, serveBlob } from "./blob.ts";
import { passThrough } from "./pass-through.ts";

type Env = { Bindings: RequestEnv };

/** A fetch handler. The second argument of its `fetch` is the listener's `RequestEnv`. */
export function registryRoutes(parts: ProxyParts): Hono<Env> {
  const app = new Hono<Env>({ getPath: (request) => new URL(request.url).pathname });
  const ops = opsRoutes(parts);
  app.use(async (c, next) => {
    if (!parts.allowClients.allows(c.env.remoteAddress)) {
      return ociError(403, "DENIED", `${c.env.remoteAddress} may not use this proxy (proxyCfg.allowClients)`);
    }
    if (c.req.header("via")?.includes(parts.via)) {
      return ociError(
        508 as 502,
        "UNSUPPORTED",
        "this request came through this proxy before: an upstream leads back to it",
      );
    }
    if (/^[a-z][a-z0-9+.-]*:\/\//i.test(c.env.target)) return await forward(c.req.raw, c.env.target, parts);
    await next();
  });
  app.get("/", (c) => c.text("Eagle: a registry mirror and HTTP proxy. See /v2/, /healthz, /readyz, /metrics.\n"));
  app.route("/", ops);
  app.all("/v2/*", (c) => mirror(c.req.raw, c.env.target, parts));
  app.all("/v2", (c) => mirror(c.req.raw, c.env.target, parts));
  app.notFound(() => ociError(404, "UNSUPPORTED", "no such route; a registry's begin with /v2/"));
  app.onError((error, c) => {
    if (!c.req.raw.signal.aborted) parts.log.error("a request failed", { target: c.env.target, error });
    return ociError(500, "UNKNOWN", "internal error");
  });
  return app;
}

/** Origin-form: `ns` names the registry (containerd), else it is the default one. */
async function mirror(request: Request, target: string, parts: ProxyParts): Promise<Response> {
  const [path = "", query = ""] = split(target);
  const params = new URLSearchParams(query);
  const ns = params.get("ns");
  const upstream = ns === null ? parts.upstreams.default : parts.upstreams.byName(ns);
  if (!upstream) {
    const what =
      ns === null
        ? "no default registry (proxyCfg.origin)"
        : `${ns} is not among the allowed registries (proxyCfg.origins)`;
    return ociError(404, "NAME_UNKNOWN", `${what} at this proxy`);
  }
  params.delete("ns");
  const rest = params.size > 0 ? `?${params}` : "";
  const response = await serve(request, upstream, path, rest, parts);
  if (ns !== null) response.headers.set("oci-namespace", ns);
  return response;
}

/** Absolute-form: the URL names the registry. */
async function forward(request: Request, target: string, parts: ProxyParts): Promise<Response> {
  const url = URL.canParse(target) ? new URL(target) : undefined;
  const upstream = url && parts.upstreams.byUrl(url);
  if (!url || !upstream) {
    return ociError(403, "DENIED", `${url?.host ?? "this URL"} is not among the allowed registries (proxyCfg.origins)`);
  }
  return await serve(request, upstream, url.pathname, url.search, parts);
}

async function serve(
  request: Request,
  upstream: Upstream,
  path: string,
  query: string,
  parts: ProxyParts,
): Promise<Response> {
  const parsed = parsePath(path);
  const isRead = request.method === "GET" || request.method === "HEAD";
  if (!parsed) {
    if (!path.startsWith("/v2/") && isRead) return await pass(request, upstream, path + query, parts);
    const digest = /\/blobs\/[^/]*$/.test(path);
    return ociError(
      digest ? 400 : 404,
      digest ? "DIGEST_INVALID" : "NAME_INVALID",
      "this path names nothing a registry has",
    );
  }
  if (parsed.kind !== "blob" || !isRead) return await pass(request, upstream, path + query, parts);
  const { repository, digest } = parsed;
  const blob: BlobQuery = { upstream, repository, digest, path };
  const url = new URL(path, upstream.base).href;
  if (parts.rules.length > 0 && !parts.rules.some((rule) => rule.test(url))) return await direct(request, blob, parts);
  const response = await serveBlob(request, blob, parts);
  parts.metrics.requests.inc({ result: String(response.status) });
  return response;
}

async function pass(request: Request, upstream: Upstream, path: string, parts: ProxyParts): Promise<Response> {
  return await passThrough(request, { origins: parts.origins, upstream, path, via: parts.via });
}

/** Path and query of a target, as sent. */
function split(target: string): [string, string] {
  const at = target.indexOf("?");
  return at < 0 ? [target, ""] : [target.slice(0, at), target.slice(at + 1)];
}
