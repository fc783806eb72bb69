/**
 * A blob at a registry, in the name of a caller.
 * @module
 */
import type { Digest } from "../registry/digest.ts";
import type { Caller, OriginClient } from "../registry/origin-client.ts";
import type { Upstream } from "../registry/upstreams.ts";
import type { Origin } from "./origin-fill.ts";
import { impatientMs, type TimeBounds } from "./time-bounds.ts";

/** @param init.bounds How long the registry may be silent. */
export function registryOrigin(
  client: OriginClient,
  init: { upstream: Upstream; repository: string; digest: Digest; caller: Caller; bounds: TimeBounds },
): Origin {
  const { upstream, repository, digest, caller, bounds } = init;
  const patience = {
    firstStallMs: impatientMs(bounds),
    headersTimeoutMs: bounds.headerMs,
    progressTimeoutMs: bounds.idleMs,
  };
  return {
    name: upstream.name,
    read: (range, signal) => client.readBlob(upstream, repository, digest, { ...range, caller, signal, ...patience }),
  };
}
