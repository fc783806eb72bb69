/**
 * Pulls an image as an engine does: manifest, config, layers, a few blobs at a time, every digest checked.
 * @module
 */
import { parseDigest } from "../../../lib/registry/digest.ts";
import { RegistryError } from "../../../lib/registry/errors.ts";
import { concurrently } from "./concurrently.ts";
import { counted } from "./counted.ts";
import { type Descriptor, mediaTypeOf, type Platform, parseManifest, type RawManifest } from "./manifest.ts";
import { choosePlatform, platformText } from "./platform.ts";
import type { RegistryReader } from "./registry-reader.ts";
import { verified } from "./verified.ts";

/** Blobs under way at once, as in dockerd. */
const CONCURRENCY = 3;
/** An index in an index in an index, and no deeper. */
const MAX_DEPTH = 3;
/** Manifests of one image at most. */
const MAX_MANIFESTS = 1000;

/** Where an image goes. */
export interface ImageSink {
  /** Whether the blob is there already, whole and right. */
  has(descriptor: Descriptor): Promise<boolean>;
  /** Takes a blob; it counts when `bytes` ends well. */
  write(descriptor: Descriptor, bytes: AsyncIterable<Uint8Array>): Promise<void>;
}

/** What to pull. */
export interface ImageQuery {
  readonly repository: string;
  /** Tag or digest. */
  readonly reference: string;
  /** Which image of an index; undefined: all of them. */
  readonly platform: Platform | undefined;
  readonly sink: ImageSink;
  readonly signal?: AbortSignal;
  /** Called when it is known what will come: bytes of the blobs that are not there yet. */
  onPlan?(plan: { bytes: number; blobs: number }): void;
  /** Bytes of blobs that came. */
  onBytes?(bytes: number): void;
}

/** What was pulled. */
export interface PulledImage {
  /** The manifest, or the index when all platforms were asked for. */
  readonly root: Descriptor;
  /** Config and layers, each once. */
  readonly blobs: readonly Descriptor[];
  /** How many of them were there already. */
  readonly skipped: number;
}

/** @throws RegistryError, BlobError; whatever the sink throws */
export async function pullImage(reader: RegistryReader, query: ImageQuery): Promise<PulledImage> {
  const { repository, sink, signal } = query;
  const { root, manifests, blobs } = await resolve(reader, query);
  const missing: Descriptor[] = [];
  for (const blob of blobs) if (!(await sink.has(blob))) missing.push(blob);
  query.onPlan?.({ bytes: missing.reduce((sum, { size }) => sum + size, 0), blobs: missing.length });
  await concurrently(missing, { limit: CONCURRENCY, signal }, async (blob, signal) => {
    const digest = parseDigest(blob.digest);
    const { bytes } = await reader.blob(repository, digest, signal);
    await sink.write(blob, counted(verified(bytes, { digest, size: blob.size }), query.onBytes));
  });
  // Behind the blobs: whoever finds a manifest finds what it names.
  for (const { descriptor, bytes } of manifests) {
    if (!(await sink.has(descriptor))) await sink.write(descriptor, once(bytes));
  }
  return { root, blobs, skipped: blobs.length - missing.length };
}

interface Resolved {
  readonly root: Descriptor;
  readonly manifests: { descriptor: Descriptor; bytes: Uint8Array }[];
  readonly blobs: Descriptor[];
}

/** Reads manifests until all blobs are known. */
async function resolve(reader: RegistryReader, query: ImageQuery): Promise<Resolved> {
  const { repository, reference, signal } = query;
  const manifests = new Map<string, { descriptor: Descriptor; bytes: Uint8Array }>();
  const blobs = new Map<string, Descriptor>();
  const visit = async (wanted: string, named: Descriptor | undefined, depth: number): Promise<Descriptor> => {
    const raw = await reader.manifest(repository, wanted, signal);
    const manifest = parseManifest(raw);
    const descriptor = named ?? describe(raw);
    if (raw.bytes.length !== descriptor.size) {
      throw new RegistryError(
        "protocol",
        `manifest ${raw.digest}: ${raw.bytes.length} bytes, its index says ${descriptor.size}`,
      );
    }
    if (manifest.kind === "image") {
      manifests.set(raw.digest, { descriptor, bytes: raw.bytes });
      for (const blob of manifest.blobs) blobs.set(blob.digest, blob);
      return descriptor;
    }
    if (depth >= MAX_DEPTH) throw new RegistryError("protocol", `index ${raw.digest}: indexes in indexes, too deep`);
    if (query.platform !== undefined) {
      const chosen =
        choosePlatform(manifest.manifests, query.platform) ?? noneFor(raw, manifest.manifests, query.platform);
      return await visit(chosen.digest, chosen, depth + 1);
    }
    for (const entry of manifest.manifests) {
      if (manifests.size >= MAX_MANIFESTS)
        throw new RegistryError("protocol", `index ${raw.digest}: too many manifests`);
      if (!manifests.has(entry.digest)) await visit(entry.digest, entry, depth + 1);
    }
    // The index behind its manifests, for the same reason as above.
    manifests.set(raw.digest, { descriptor, bytes: raw.bytes });
    return descriptor;
  };
  const root = await visit(reference, undefined, 0);
  return { root, manifests: [...manifests.values()], blobs: [...blobs.values()] };
}

function describe(raw: RawManifest): Descriptor {
  return { mediaType: mediaTypeOf(raw), digest: raw.digest, size: raw.bytes.length };
}

function noneFor(raw: RawManifest, entries: readonly Descriptor[], wanted: Platform): never {
  const known = entries.flatMap(({ platform }) =>
    platform && platform.os !== "unknown" ? [platformText(platform)] : [],
  );
  throw new RegistryError(
    "not_found",
    `index ${raw.digest} has no image for ${platformText(wanted)}; it has: ${[...new Set(known)].join(", ").slice(0, 500)}`,
  );
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
