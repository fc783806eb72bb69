/**
 * The seeder's HTTP port, beside the MetaInfo service: pieces, torrents, health and metrics.
 * @module
 */
import { Hono } from "hono";
import type { Host } from "../../../lib/bt/host.ts";
import type { PeerOfferInit } from "../../../lib/bt/peer-offer.ts";
import { peerRoutes } from "../../../lib/bt/peer-routes.ts";
import type { SeederService } from "../../../lib/bt/seeder-service.ts";
import { isPartRequest } from "../../../lib/cluster/received.ts";
import { WEB_SEED_PARAMETER } from "../../../lib/cluster/web-seed-token.ts";
import { opsRoutes } from "../../../lib/http/ops-routes.ts";
import type { RequestEnv } from "../../../lib/http/server.ts";
import type { Logger } from "../../../lib/log/log.ts";
import type { PublicManifests } from "../../../lib/manifests/public-manifests.ts";
import type { Metrics } from "../../../lib/metrics/metrics.ts";
import { isDigest, parseDigest } from "../../../lib/registry/digest.ts";
import { ociError } from "../../../lib/registry/errors.ts";
import type { Upstreams } from "../../../lib/registry/upstreams.ts";
import { manifestRoutes } from "./manifests.ts";

export interface SeederRoutesInit {
  readonly host: Host;
  readonly service: SeederService;
  readonly manifests: PublicManifests;
  readonly upstreams: Upstreams;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly ready: () => boolean;
  readonly offer: PeerOfferInit;
}

/** A fetch handler. The second argument of its `fetch` is the listener's `RequestEnv`. */
export function seederRoutes({
  host,
  service,
  manifests,
  upstreams,
  metrics,
  log,
  ready,
  offer,
}: SeederRoutesInit): Hono<{ Bindings: RequestEnv }> {
  const app = new Hono<{ Bindings: RequestEnv }>();
  app.route("/", opsRoutes({ metrics, ready }));
  app.route("/", peerRoutes(offer));
  app.route("/", manifestRoutes({ manifests, upstreams, log }));
  app.get("/torrents/:file", async (c) => {
    const text = /^(.+)\.torrent$/.exec(c.req.param("file"))?.[1] ?? "";
    if (!isDigest(text)) return ociError(400, "DIGEST_INVALID", "want /torrents/sha256:<hex>.torrent");
    const handle = await host.store.peek(parseDigest(text), { signal: c.req.raw.signal });
    try {
      const { cluster } = host;
      if (!handle?.blob.verified || !(handle.blob.isPublic || isPartRequest(cluster, c.req.raw, c.env)))
        return ociError(404, "BLOB_UNKNOWN", `${text} is not seeded here`);
      const webSeed = new URL(`/p2p/v1/blobs/${text}`, c.req.url);
      const token = handle.blob.isPublic ? undefined : cluster.webSeedToken(text);
      if (token) webSeed.searchParams.set(WEB_SEED_PARAMETER, token);
      return c.body((await service.torrent(handle.blob, webSeed.href)) as Uint8Array<ArrayBuffer>, 200, {
        "content-type": "application/x-bittorrent",
        "content-disposition": `attachment; filename="${parseDigest(text).hex}.torrent"`,
      });
    } finally {
      handle?.release();
    }
  });
  app.notFound(() =>
    ociError(
      404,
      "UNSUPPORTED",
      "no such route; a seeder has /metainfo.MetaInfo/GetMetaInfo, /p2p/v1/blobs/, /torrents/ and /eagle/v1/manifests",
    ),
  );
  app.onError((error, c) => {
    if (!c.req.raw.signal.aborted) log.error("a request failed", { path: c.req.path, error });
    return ociError(500, "UNKNOWN", "internal error");
  });
  return app;
}
