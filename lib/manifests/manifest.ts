/**
 * Manifests and indexes (OCI image-spec; Docker image manifest version 2, schema 2) as bytes with a digest, and what
 * they name.
 * @module
 */
import { createHash } from "node:crypto";
import { createDigestHash, type Digest, isDigest, parseDigest } from "../registry/digest.ts";
import type { Upstream } from "../registry/upstreams.ts";
import { bareType } from "./accept.ts";

/** OCI distribution-spec, "Pushing manifests": registries take at least 4 MiB, and hardly one takes more. Bytes. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

/** Descriptors of one manifest that are looked at; what is beyond is asked about by itself. */
const MAX_NAMED = 1000;

/** Where a manifest is. */
export interface Place {
  readonly upstream: Upstream;
  readonly repository: string;
}

/** What a tag or digest stands for. */
export interface Resolved {
  readonly digest: Digest;
  /** `Content-Type` as the registry sent it. */
  readonly mediaType: string;
  /** Bytes. */
  readonly size: number;
}

/** A manifest whose bytes agree with its digest. */
export interface Manifest extends Resolved {
  readonly bytes: Uint8Array;
}

/** Whether the bytes are those of the digest. */
export function agrees(bytes: Uint8Array, digest: Digest): boolean {
  return createDigestHash(digest).update(bytes).digest("hex") === digest.hex;
}

/** The digest of what a registry sent without saying one. */
export function digestOf(bytes: Uint8Array): Digest {
  return parseDigest(`sha256:${createHash("sha256").update(bytes).digest("hex")}`);
}

/** Whether a Content-Type is one that may be kept and sent again. */
export function isMediaType(text: string): boolean {
  return /^[\x20-\x7e]{1,255}$/.test(text);
}

/**
 * Whether a digest can be checked against the bytes. That of Docker's schema 1 is one of a part of them: such manifests
 * are the engine's to check.
 */
export function isCheckable(mediaType: string): boolean {
  return !/^application\/vnd\.docker\.distribution\.manifest\.v1\+/.test(bareType(mediaType));
}

/**
 * The blobs and manifests that a manifest names, each once: config, layers, manifests of an index, blobs of an artifact.
 * Left out are those with `urls` (foreign layers), which no registry claims to have, and its subject, which it need not
 * have. Anything that is not what the specifications say names nothing.
 */
export function namedDigests(bytes: Uint8Array): Digest[] {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return [];
  }
  if (!isObject(value)) return [];
  const lists = [value.layers, value.manifests, value.blobs].filter(Array.isArray).flat() as unknown[];
  const named = new Set<string>();
  for (const item of [value.config, ...lists].slice(0, MAX_NAMED)) {
    if (!isObject(item) || (Array.isArray(item.urls) && item.urls.length > 0)) continue;
    if (typeof item.digest === "string" && isDigest(item.digest)) named.add(item.digest);
  }
  return [...named].map(parseDigest);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
