/**
 * The URL of a blob, as the MetaInfo service is asked.
 * @module
 */
import type { Digest } from "../registry/digest.ts";
import { parsePath } from "../registry/reference.ts";
import type { Upstream, Upstreams } from "../registry/upstreams.ts";
import { MetaInfoError } from "../rpc/errors.ts";

/** The digest of no bytes at all: such a blob needs no metainfo and can have none. */
const EMPTY = new Set([
  "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
]);

/** Whether a digest names the empty blob. */
export function isEmptyBlob(digest: Digest): boolean {
  return EMPTY.has(digest.toString());
}

/**
 * @param url Whole URL at an allowed origin, or a path at the default origin (old clients).
 * @throws MetaInfoError invalid_argument, permission_denied (another origin), failed_precondition (the empty blob)
 */
export function blobUrl(url: string, upstreams: Upstreams): { upstream: Upstream; repository: string; digest: Digest } {
  const { upstream, path } = locate(url, upstreams);
  const parsed = parsePath(path);
  if (parsed?.kind !== "blob") {
    throw new MetaInfoError(
      "invalid_argument",
      `${JSON.stringify(url.slice(0, 300))} is not the URL of a blob: want .../v2/<name>/blobs/<digest>`,
    );
  }
  const { repository, digest } = parsed;
  if (isEmptyBlob(digest))
    throw new MetaInfoError("failed_precondition", `${digest} is the empty blob: it has no metainfo`);
  return { upstream, repository, digest };
}

function locate(url: string, upstreams: Upstreams): { upstream: Upstream; path: string } {
  if (url.startsWith("/")) {
    if (!upstreams.default)
      throw new MetaInfoError(
        "invalid_argument",
        "a path alone needs seederCfg.origin; send the whole URL of the blob",
      );
    return { upstream: upstreams.default, path: url.split(/[?#]/, 1)[0]! };
  }
  if (!URL.canParse(url))
    throw new MetaInfoError("invalid_argument", `${JSON.stringify(url.slice(0, 300))} is not a URL`);
  const parsed = new URL(url);
  const upstream = upstreams.byUrl(parsed);
  if (!upstream)
    throw new MetaInfoError("permission_denied", `${parsed.host} is not among the allowed origins of this seeder`);
  return { upstream, path: parsed.pathname };
}
