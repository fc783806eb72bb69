/**
 * Names of images and paths of the registry API, by the grammar of the OCI distribution-spec ("Pulling manifests",
 * "Endpoints") and, for references people type, of Docker ("docker.io/library/" is implied).
 * @module
 */
import { type Digest, isDigest, parseDigest } from "./digest.ts";

/** A name of an image. */
export interface Reference {
  /** Authority as people write it, lower case: `docker.io`, `127.0.0.1:5000`, `[::1]:5000`. */
  readonly registry: string;
  /** `library/alpine` */
  readonly repository: string;
  /** `latest` when neither tag nor digest was given. */
  readonly tag?: string;
  readonly digest?: Digest;
  /** What to put behind `/manifests/`: the digest if there is one, else the tag. */
  readonly reference: string;
}

/** What a path of the registry API asks for. */
export type RegistryPath =
  | { readonly kind: "base" }
  | { readonly kind: "manifest"; readonly repository: string; readonly reference: string; readonly digest?: Digest }
  | { readonly kind: "blob"; readonly repository: string; readonly digest: Digest }
  | { readonly kind: "tags" | "upload"; readonly repository: string }
  | { readonly kind: "referrers"; readonly repository: string; readonly digest: Digest }
  | { readonly kind: "catalog" };

/** Text that is no name of an image. */
export class InvalidReferenceError extends Error {
  readonly code = "invalid";
  constructor(text: string, why: string) {
    super(
      `not an image reference: ${JSON.stringify(text.slice(0, 300))}: ${why} (example: docker.io/library/alpine:3.20)`,
    );
    this.name = "InvalidReferenceError";
  }
}

const maxRepositoryLength = 255;
const maxPathLength = 2048;
const repositoryPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const registryPattern =
  /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/;
const uploadPattern = /^[A-Za-z0-9_~=:@+-][A-Za-z0-9._~=:@+-]{0,511}$/;
const dockerHubNames: ReadonlySet<string> = new Set(["docker.io", "index.docker.io", "registry-1.docker.io"]);

/** Whether the text is a repository name of the OCI grammar, at most 255 characters. */
export function isRepository(text: string): boolean {
  return text.length <= maxRepositoryLength && repositoryPattern.test(text);
}

/** Whether the text is an authority as people write registries: `host[:port]`, lower case. */
export function isRegistry(text: string): boolean {
  return text.length <= 261 && registryPattern.test(text);
}

/** Lower case, every name of Docker Hub as `docker.io`, no `:443`. Does not check the grammar. */
export function canonicalRegistry(authority: string): string {
  const lower = authority.toLowerCase();
  const name = lower.endsWith(":443") ? lower.slice(0, -4) : lower;
  return dockerHubNames.has(name) ? "docker.io" : name;
}

/**
 * Reads `[host[:port]/]repository[:tag][@digest]` as `docker pull` does: without a host it is at docker.io, and there
 * a repository of one component is below `library/`.
 * @throws InvalidReferenceError
 */
export function parseReference(text: string): Reference {
  if (text.length > maxPathLength) throw new InvalidReferenceError(text, "too long");
  let rest = text;
  let digest: Digest | undefined;
  const at = rest.indexOf("@");
  if (at >= 0) {
    const digestText = rest.slice(at + 1);
    if (!isDigest(digestText)) throw new InvalidReferenceError(text, "what follows @ is not a digest");
    digest = parseDigest(digestText);
    rest = rest.slice(0, at);
  }
  let registry = "docker.io";
  const slash = rest.indexOf("/");
  const first = rest.slice(0, Math.max(slash, 0));
  // Docker's rule: the first component is a host if it could not be a component of a repository, or is localhost.
  if (first === "localhost" || /[.:[\]A-Z]/.test(first)) {
    registry = canonicalRegistry(first);
    if (!registryPattern.test(registry)) throw new InvalidReferenceError(text, "the registry is not host[:port]");
    rest = rest.slice(slash + 1);
  }
  let tag: string | undefined;
  const colon = rest.lastIndexOf(":");
  if (colon >= 0) {
    tag = rest.slice(colon + 1);
    if (!tagPattern.test(tag)) throw new InvalidReferenceError(text, "what follows : is not a tag");
    rest = rest.slice(0, colon);
  }
  const repository = registry === "docker.io" && !rest.includes("/") ? `library/${rest}` : rest;
  if (!isRepository(repository)) {
    throw new InvalidReferenceError(
      text,
      `the repository must match ${repositoryPattern.source} and have at most 255 characters`,
    );
  }
  if (tag === undefined && digest === undefined) tag = "latest";
  return {
    registry,
    repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
    reference: digest?.toString() ?? tag ?? "latest",
  };
}

/**
 * Reads a path of the registry API, as it was sent (not decoded, without query). A repository may itself contain
 * components named `blobs` or `manifests`, so the path is read from its end. Nothing is decoded except `%3A` in the
 * last segment (some clients escape the colon of a digest), so dot segments, empty segments and escaped slashes never
 * pass the grammar.
 * @returns undefined for anything that is not exactly such a path
 */
export function parsePath(path: string): RegistryPath | undefined {
  if (path === "/v2/" || path === "/v2") return { kind: "base" };
  if (path === "/v2/_catalog") return { kind: "catalog" };
  if (path.length > maxPathLength || !path.startsWith("/v2/")) return undefined;
  const segments = path.slice(4).split("/");
  const last = segments.at(-1)?.replace(/%3a/gi, ":") ?? "";
  const verb = segments.at(-2);

  const repository = segments.slice(0, -2).join("/");
  if (verb === "blobs" && last === "uploads")
    return isRepository(repository) ? { kind: "upload", repository } : undefined;
  if (verb === "uploads" && segments.at(-3) === "blobs" && (last === "" || uploadPattern.test(last))) {
    const name = segments.slice(0, -3).join("/");
    return isRepository(name) ? { kind: "upload", repository: name } : undefined;
  }
  if (!isRepository(repository)) return undefined;
  switch (verb) {
    case "blobs":
      return isDigest(last) ? { kind: "blob", repository, digest: parseDigest(last) } : undefined;
    case "manifests":
      if (isDigest(last)) return { kind: "manifest", repository, reference: last, digest: parseDigest(last) };
      return tagPattern.test(last) ? { kind: "manifest", repository, reference: last } : undefined;
    case "referrers":
      return isDigest(last) ? { kind: "referrers", repository, digest: parseDigest(last) } : undefined;
    case "tags":
      return last === "list" ? { kind: "tags", repository } : undefined;
    default:
      return undefined;
  }
}
