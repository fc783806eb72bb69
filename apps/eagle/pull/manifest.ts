/**
 * Manifests and indexes (OCI image-spec; Docker image manifest version 2, schema 2): what they name.
 * @module
 */
import { isDigest } from "../../../lib/registry/digest.ts";
import { RegistryError } from "../../../lib/registry/errors.ts";

const INDEX_TYPES = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
];

/** What `Accept` says. */
export const MANIFEST_TYPES: readonly string[] = [
  ...INDEX_TYPES,
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];

/** Most entries a manifest or index may have. */
const MAX_ENTRIES = 1000;

/** A manifest or index as it came; its bytes agree with its digest. */
export interface RawManifest {
  readonly bytes: Uint8Array;
  readonly digest: string;
  /** Of the answer's Content-Type. */
  readonly mediaType: string;
}

/** A platform that an image is for (OCI image-spec, "Image Index"). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** A blob or manifest, as another one names it (OCI image-spec, "Content Descriptors"). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
  readonly platform?: Platform;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** What was read. */
export type Manifest =
  | { readonly kind: "image"; readonly blobs: readonly Descriptor[] }
  | { readonly kind: "index"; readonly manifests: readonly Descriptor[] };

/** @throws RegistryError protocol for what is neither an image nor an index, or not whole. */
export function parseManifest(raw: RawManifest): Manifest {
  const refuse = (why: string) => new RegistryError("protocol", `manifest ${raw.digest}: ${why}`);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(raw.bytes).toString());
  } catch {
    throw refuse("not JSON");
  }
  if (!isObject(value)) throw refuse("not a JSON object");
  if (value.schemaVersion !== 2) throw refuse(`schema version ${String(value.schemaVersion)} is not supported, only 2`);
  const list = (items: unknown, what: string): Descriptor[] => {
    if (!Array.isArray(items) || items.length > MAX_ENTRIES)
      throw refuse(`${what} is no list of at most ${MAX_ENTRIES}`);
    return items.map((item, index) => descriptorOf(item) ?? raise(refuse(`${what}[${index}] is no descriptor`)));
  };
  if (isIndex(value, raw.mediaType)) return { kind: "index", manifests: list(value.manifests, "manifests") };
  const config = descriptorOf(value.config) ?? raise(refuse("config is no descriptor"));
  return { kind: "image", blobs: [config, ...list(value.layers, "layers")] };
}

/** The media type that a manifest has in descriptors: its own word, else the answer's. */
export function mediaTypeOf(raw: RawManifest): string {
  const value = JSON.parse(Buffer.from(raw.bytes).toString()) as { mediaType?: unknown };
  return typeof value.mediaType === "string" ? value.mediaType : raw.mediaType;
}

function isIndex(value: Record<string, unknown>, mediaType: string): boolean {
  const type = typeof value.mediaType === "string" ? value.mediaType : mediaType;
  return INDEX_TYPES.includes(type) || (!MANIFEST_TYPES.includes(type) && Array.isArray(value.manifests));
}

function descriptorOf(value: unknown): Descriptor | undefined {
  if (!isObject(value)) return undefined;
  const { mediaType, digest, size, platform, annotations } = value;
  if (typeof mediaType !== "string" || typeof digest !== "string" || !isDigest(digest)) return undefined;
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) return undefined;
  return {
    mediaType,
    digest,
    size,
    ...(isObject(platform) ? { platform: platform as unknown as Platform } : {}),
    ...(isObject(annotations) ? { annotations: annotations as Record<string, string> } : {}),
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function raise(error: Error): never {
  throw error;
}
