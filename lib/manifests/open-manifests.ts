/**
 * Puts the manifests of a proxy and of a seeder together.
 * @module
 */
import { AccessChecker } from "../access/access.ts";
import type { ClusterHttp } from "../cluster/cluster-http.ts";
import type { Logger } from "../log/log.ts";
import type { OriginClient } from "../registry/origin-client.ts";
import { CallerManifests, type CallerManifestsInit } from "./caller-manifests.ts";
import { ManifestStore } from "./manifest-store.ts";
import { OriginManifests } from "./origin-manifests.ts";
import { PublicManifests } from "./public-manifests.ts";
import { SeederManifests } from "./seeder-manifests.ts";

/** What {@link openManifests} takes. */
export interface OpenManifestsInit extends Pick<CallerManifestsInit, "access" | "authorize" | "staleTags"> {
  /** Where manifests are kept. */
  readonly directory: string;
  /** Bytes of blobs that the host may keep. */
  readonly limitSize: number;
  readonly origins: OriginClient;
  /** Longest wait for a registry's answer, ms. */
  readonly timeoutMs: number;
  readonly seeders: readonly URL[];
  readonly http: Pick<ClusterHttp, "request">;
  readonly log: Logger;
}

/** The manifests of a proxy, put together. Dispose of them. */
export function openManifests(init: OpenManifestsInit): CallerManifests {
  const { directory, limitSize, origins, timeoutMs, seeders, http, access, authorize, staleTags, log } = init;
  const origin = new OriginManifests({ origins, timeoutMs });
  const store = new ManifestStore({ directory, limitSize, log });
  const asked = seeders.length > 0 ? new SeederManifests({ seeders, http, budgetMs: timeoutMs / 2, log }) : undefined;
  const stale = staleTags === undefined ? {} : { staleTags };
  const shared = new PublicManifests({ origin, access, store, seeders: asked, ...stale });
  return new CallerManifests({ shared, origin, access, store, authorize, ...stale });
}

/** What {@link openPublicManifests} takes. */
export interface OpenPublicManifestsInit {
  /** Where manifests are kept. */
  readonly directory: string;
  readonly origins: OriginClient;
  /** Bytes of blobs that the host may keep. */
  readonly limitSize: number;
  readonly tagTtlMs: number;
  /** Longest wait for a registry's answer, ms. */
  readonly timeoutMs: number;
  readonly log: Logger;
}

/** The manifests of a seeder, put together. @returns with what closes it */
export function openPublicManifests(init: OpenPublicManifestsInit): {
  manifests: PublicManifests;
  store: ManifestStore;
} {
  const { directory, limitSize, origins, tagTtlMs, timeoutMs, log } = init;
  const store = new ManifestStore({ directory, limitSize, log });
  const access = new AccessChecker({ origins, timeoutMs, log });
  const origin = new OriginManifests({ origins, timeoutMs });
  return {
    store,
    manifests: new PublicManifests({ origin, access, store, tagTtlMs }),
  };
}
