/**
 * What a person wants: an image or a blob, and of which registry.
 * @module
 */
import type { Digest } from "../../../lib/registry/digest.ts";
import { canonicalRegistry, parsePath, parseReference } from "../../../lib/registry/reference.ts";

/** See the module. */
export type Target = ImageTarget | BlobTarget;

interface InRegistry {
  /** As engines call it: `docker.io`, `127.0.0.1:5000`. */
  readonly registry: string;
  /** Where it is, when a URL said so: scheme and authority. */
  readonly origin?: string;
  readonly repository: string;
}

/** An image. */
export interface ImageTarget extends InRegistry {
  readonly kind: "image";
  /** Tag or digest: what stands behind `/manifests/`. */
  readonly reference: string;
  readonly tag?: string;
}

/** A blob. */
export interface BlobTarget extends InRegistry {
  readonly kind: "blob";
  readonly digest: Digest;
}

/** Text that names neither an image nor a blob. */
export class TargetError extends Error {
  override readonly name = "TargetError";
  readonly code = "invalid";
}

/**
 * Reads an image reference (`alpine:3.20`), or the URL of a blob or a manifest at its registry.
 * @throws TargetError, InvalidReferenceError
 */
export function parseTarget(text: string): Target {
  if (/^https?:\/\//i.test(text)) return fromUrl(text);
  const { registry, repository, reference, tag } = parseReference(text);
  return { kind: "image", registry, repository, reference, ...(tag === undefined ? {} : { tag }) };
}

function fromUrl(text: string): Target {
  const url = URL.parse(text);
  const plain = url?.username === "" && url.password === "";
  const path = url && plain ? parsePath(url.pathname) : undefined;
  if (!url || (path?.kind !== "blob" && path?.kind !== "manifest")) {
    const want = "http(s)://HOST/v2/NAME/blobs/sha256:... or .../manifests/TAG";
    throw new TargetError(`${JSON.stringify(text.slice(0, 300))} is no URL of a blob or an image; expected ${want}`);
  }
  const place = { registry: canonicalRegistry(url.host), origin: url.origin, repository: path.repository };
  if (path.kind === "blob") return { kind: "blob", ...place, digest: path.digest };
  const { reference } = path;
  return { kind: "image", ...place, reference, ...(path.digest ? {} : { tag: reference }) };
}
