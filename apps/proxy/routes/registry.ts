/**
 * The port that engines use: a registry mirror (requests in origin-form) and an HTTP proxy (absolute-form).
 * @module
 */
import { Hono } from "hono";
import { opsRoutes } from "../../../lib/http/ops-routes.ts";
import type { RequestEnv } from "../../../lib/http/server.ts";
import { ociError } from "../../../lib/registry/errors.ts";
import { parsePath } from "../../../lib/registry/reference.ts";
import type { Upstream, Upstreams } from "../../../lib/registry/upstreams.ts";
import type { ProxyParts } from "../cmd/parts.ts";
import { type BlobQuery, direct, serveBlob } from "./blob.ts";
import { serveManifest } from "./manifest.ts";
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

/** What in a request in origin-form names the registry. */
type Naming = { readonly by: "default" } | { readonly by: "ns" | "prefix"; readonly name: string };

/**
 * Origin-form. The registry is named by `ns` (containerd), else by the first component of the repository, if that is a
 * registry that is allowed here (`location = "<proxy>/quay.io"` of podman), else it is the default one.
 */
async function mirror(request: Request, target: string, parts: ProxyParts): Promise<Response> {
  const [whole, query] = split(target);
  const { naming, path, rest } = named(whole, query, parts.upstreams);
  const upstream = naming.by === "default" ? parts.upstreams.default : parts.upstreams.byName(naming.name);
  if (!upstream) {
    // Engines ask this before they name a registry by the first component.
    if (naming.by === "default" && parsePath(path)?.kind === "base") {
      return Response.json({}, { headers: { "docker-distribution-api-version": "registry/2.0" } });
    }
    const what =
      naming.by === "default"
        ? "this request names no registry, and there is no default one (proxyCfg.origin)"
        : `${naming.name.slice(0, 300)} is not among the allowed registries (proxyCfg.origins, registries)`;
    return ociError(404, "NAME_UNKNOWN", `${what} at this proxy`);
  }
  const response = await serve(request, upstream, path, rest, parts);
  if (naming.by === "ns") response.headers.set("oci-namespace", naming.name);
  if (naming.by !== "default") relocate(response.headers, naming);
  return response;
}

/** Reads which registry is meant, and takes its name out of path and query. What is left is as it was sent. */
function named(path: string, query: string, upstreams: Upstreams): { naming: Naming; path: string; rest: string } {
  const pairs = query.split("&");
  const ns = new URLSearchParams(query).get("ns");
  if (ns !== null) {
    const rest = pairs.filter((pair) => !/^ns(?:=|$)/.test(pair)).join("&");
    return { naming: { by: "ns", name: ns }, path, rest: rest === "" ? "" : `?${rest}` };
  }
  const rest = query === "" ? "" : `?${query}`;
  const [, first, below] = /^\/v2\/([^/]{1,261})\/(.+)$/.exec(path) ?? [];
  if (first !== undefined && below !== undefined && (first === "localhost" || /[.:]/.test(first))) {
    // A component with a colon is none of a repository: it can only be a registry, if one that is not allowed.
    if (first.includes(":") || upstreams.byName(first))
      return { naming: { by: "prefix", name: first }, path: `/v2/${below}`, rest };
  }
  return { naming: { by: "default" }, path, rest };
}

/** The registry's own paths in an answer lead back by the way that the request came. */
function relocate(headers: Headers, naming: Exclude<Naming, { by: "default" }>): void {
  const leadBack = (path: string) => {
    if (naming.by === "prefix") return `/v2/${naming.name}/${path.slice("/v2/".length)}`;
    return `${path}${path.includes("?") ? "&" : "?"}ns=${encodeURIComponent(naming.name)}`;
  };
  const location = headers.get("location");
  if (location?.startsWith("/v2/")) headers.set("location", leadBack(location));
  const link = headers.get("link");
  if (link) {
    headers.set(
      "link",
      link.replace(/<(\/v2\/[^>]*)>/g, (_, path: string) => `<${leadBack(path)}>`),
    );
  }
}

/** Absolute-form: the URL names the registry. */
async function forward(request: Request, target: string, parts: ProxyParts): Promise<Response> {
  const url = URL.canParse(target) ? new URL(target) : undefined;
  const upstream = url && parts.upstreams.byUrl(url);
  if (!url || !upstream) {
    return ociError(
      403,
      "DENIED",
      `${url?.host ?? "this URL"} is not among the allowed registries (proxyCfg.origins, registries)`,
    );
  }
  return await serve(request, upstream, url.pathname, url.search, parts);
}

/** @param query with its question mark; empty without one */
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
  if (parsed.kind === "manifest") {
    const { repository, reference } = parsed;
    const target = path + query;
    // A query asks for something of the registry's own making.
    if (isRead && query === "") return await serveManifest(request, { upstream, repository, reference, target }, parts);
    const response = await pass(request, upstream, target, parts);
    if (!isRead) parts.manifests.changed({ upstream, repository }, reference);
    return response;
  }
  if (parsed.kind !== "blob" || !isRead) {
    const response = await pass(request, upstream, path + query, parts);
    if (parsed.kind === "blob") parts.access.forget({ upstream, ...parsed });
    return response;
  }
  const { repository, digest } = parsed;
  const blob: BlobQuery = { upstream, repository, digest, path, query };
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
