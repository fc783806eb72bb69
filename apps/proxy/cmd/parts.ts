/**
 * What the proxy's routes work with.
 * @module
 */
import type { AccessChecker } from "../../../lib/access/access.ts";
import type { BlobStore } from "../../../lib/bt/blob-store.ts";
import type { BufferPool } from "../../../lib/bt/buffer-pool.ts";
import type { EagleClient } from "../../../lib/bt/eagle-client.ts";
import type { TimeBounds } from "../../../lib/bt/time-bounds.ts";
import type { AllowClients } from "../../../lib/config/index.ts";
import type { Logger } from "../../../lib/log/log.ts";
import type { CallerManifests } from "../../../lib/manifests/caller-manifests.ts";
import type { Metrics } from "../../../lib/metrics/metrics.ts";
import type { OriginClient } from "../../../lib/registry/origin-client.ts";
import type { Upstreams } from "../../../lib/registry/upstreams.ts";

export interface ProxyParts {
  readonly upstreams: Upstreams;
  readonly origins: OriginClient;
  readonly access: AccessChecker;
  readonly manifests: CallerManifests;
  readonly store: BlobStore;
  readonly client: EagleClient;
  /** Buffers that bodies are read into. */
  readonly buffers: BufferPool;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** This proxy's entry in `Via` (RFC 9110, 7.6.3). */
  readonly via: string;
  /** Upstream URLs whose blobs go peer to peer; none: all. */
  readonly rules: readonly RegExp[];
  readonly allowClients: AllowClients;
  /** `proxyCfg.authorize`. */
  readonly authorize: "private" | "always" | "never";
  readonly bounds: TimeBounds;
  readonly ready: () => boolean;
}
