/**
 * Paths of requests to registries, and that they lead where they say.
 * @module
 */
import type { Digest } from "./digest.ts";
import { RegistryError } from "./errors.ts";
import { isRepository } from "./reference.ts";
import type { Upstream } from "./upstreams.ts";

/** @throws RegistryError invalid */
export function blobPath(repository: string, digest: Digest): string {
  return `${repositoryPath(repository)}/blobs/${digest}`;
}

/**
 * @param reference Tag or digest.
 * @throws RegistryError invalid
 */
export function manifestPath(repository: string, reference: string): string {
  return `${repositoryPath(repository)}/manifests/${reference}`;
}

function repositoryPath(repository: string): string {
  if (!isRepository(repository)) {
    throw new RegistryError("invalid", `not a repository name: ${JSON.stringify(repository.slice(0, 300))}`);
  }
  return `/v2/${repository}`;
}

/** @param path with its query. @throws RegistryError invalid, for what would lead elsewhere */
export function requestUrl(upstream: Upstream, path: string): URL {
  const url = path.startsWith("/") ? URL.parse(upstream.base.origin + path) : null;
  // A URL resolves dot segments: what was allowed by its path must be what is asked for.
  const dots = /(?:^|[/\\])(?:\.|%2e){1,2}(?:[/\\]|$)/i.test(path.split(/[?#]/, 1)[0] ?? "");
  if (url === null || dots || url.origin !== upstream.base.origin) {
    throw new RegistryError("invalid", `${upstream.name}: not a path: ${JSON.stringify(path.slice(0, 300))}`);
  }
  url.hash = "";
  return url;
}
