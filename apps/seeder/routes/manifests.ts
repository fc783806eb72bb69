/**
 * The seeder's word on manifests that anyone may read, for proxies: `GET` and `HEAD /eagle/v1/manifests?url=...`, with the
 * engine's `Accept`. So the hosts that pull one tag at the same time are one reader of the registry.
 *
 * 200 with the manifest, 304 when the asker has it; `Age` tells how old the registry's word is, `Warning` that the
 * registry does not answer. Anything else means: ask the registry yourself.
 * @module
 */
import { type Context, Hono } from "hono";
import type { RequestEnv } from "../../../lib/http/server.ts";
import type { Logger } from "../../../lib/log/log.ts";
import { parseAccept } from "../../../lib/manifests/accept.ts";
import { manifestResponse, refusalResponse } from "../../../lib/manifests/manifest-response.ts";
import { locateManifest } from "../../../lib/manifests/manifest-url.ts";
import type { PublicManifests } from "../../../lib/manifests/public-manifests.ts";
import { SEEDER_ROUTE } from "../../../lib/manifests/seeder-manifests.ts";
import { ociError } from "../../../lib/registry/errors.ts";
import type { Upstreams } from "../../../lib/registry/upstreams.ts";

type Env = { Bindings: RequestEnv };

/** A fetch handler. */
export function manifestRoutes(init: { manifests: PublicManifests; upstreams: Upstreams; log: Logger }): Hono<Env> {
  const app = new Hono<Env>();
  // Hono answers a HEAD by the route of GET.
  app.get(SEEDER_ROUTE, (c) => answer(c, init));
  return app;
}

async function answer(
  c: Context<Env>,
  { manifests, upstreams, log }: { manifests: PublicManifests; upstreams: Upstreams; log: Logger },
): Promise<Response> {
  const url = c.req.query("url") ?? "";
  const located = locateManifest(url, upstreams);
  if (located.kind === "malformed") {
    return ociError(400, "NAME_INVALID", "want url=https://<registry>/v2/<name>/manifests/<tag or digest>");
  }
  if (located.kind === "not_allowed") {
    return ociError(403, "DENIED", "this registry is not among those of this seeder (seederCfg.origins)");
  }
  const { place, reference } = located;
  const { signal, method } = c.req.raw;
  const what = `manifest ${reference} of ${place.upstream.name}/${place.repository}`;
  try {
    const found = await manifests.get({
      place,
      reference,
      accept: parseAccept(c.req.header("accept") ?? null),
      wantsBytes: method !== "HEAD",
      signal,
    });
    switch (found.kind) {
      case "found":
        return manifestResponse(c.req.raw, found, { age: String(Math.ceil(found.ageMs / 1000)) });
      case "refused":
        // The challenge is for the registry's own clients.
        return refusalResponse({ ...found, challenge: undefined }, what);
      case "unfit":
        return ociError(404, "UNSUPPORTED", `${what}: not one that a seeder keeps; ask the registry`);
      case "down":
        return ociError(502, "UNAVAILABLE", `${what}: ${found.error.message}`);
    }
  } catch (error) {
    signal.throwIfAborted();
    log.warn("a manifest cannot be told", { what, error });
    return ociError(502, "UNAVAILABLE", `${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
