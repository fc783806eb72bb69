/**
 * A blob at a registry, in the name of a caller.
 * @module
 */
import type { Digest } from "../registry/digest.ts";
import type { Caller, OriginClient } from "../registry/origin-client.ts";
import type { Upstream } from "../registry/upstreams.ts";
import type { Origin } from "./origin-fill.ts";

/** @param init.progressTimeoutMs Longest wait for the next byte. */
export function registryOrigin(
  client: OriginClient,
  init: { upstream: Upstream; repository: string; digest: Digest; caller: Caller; progressTimeoutMs: number },
): Origin {
  const { upstream, repository, digest, caller, progressTimeoutMs } = init;
  return {
    name: upstream.name,
    read: (range, signal) =>
      client.readBlob(upstream, repository, digest, { ...range, caller, signal, progressTimeoutMs }),
  };
}
