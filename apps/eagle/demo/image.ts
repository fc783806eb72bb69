/**
 * The demo's image: several layers of different kinds and sizes, from scratch.
 * @module
 */
import { createHash } from "node:crypto";
import type { Storage } from "../../../lib/storage/index.ts";
import type { Descriptor } from "../pull/manifest.ts";
import { machinePlatform } from "../pull/platform.ts";
import { type LayerSpec, layerStream } from "./layer.ts";

/** An image whose blobs are in a storage. */
export interface DemoImage {
  readonly manifest: Descriptor;
  readonly manifestBytes: Uint8Array;
  /** Config and layers. */
  readonly blobs: readonly Descriptor[];
}

/** Shares of the whole, as in real images: a large base, a few small ones on top. */
const LAYERS: readonly (Omit<LayerSpec, "size"> & { readonly share: number })[] = [
  { name: "base.bin", content: "random", gzip: false, share: 0.36 },
  { name: "runtime.txt", content: "text", gzip: false, share: 0.24 },
  { name: "libraries.bin", content: "random", gzip: false, share: 0.2 },
  { name: "packages.bin", content: "mixed", gzip: true, share: 0.12 },
  { name: "app.bin", content: "random", gzip: false, share: 0.06 },
  { name: "assets.txt", content: "text", gzip: true, share: 0.019 },
  { name: "config.txt", content: "text", gzip: false, share: 0.001 },
];

/** Makes the image. @param size Bytes of all files together; the blobs are a little less, as some are compressed. */
export async function makeImage(
  storage: Storage,
  { size, signal }: { size: number; signal: AbortSignal },
): Promise<DemoImage> {
  const layers: Descriptor[] = [];
  const diffIds: string[] = [];
  for (const { share, ...spec } of LAYERS) {
    const { mediaType, bytes, diffId } = layerStream({ ...spec, size: Math.ceil(size * share) });
    layers.push({ mediaType, ...(await store(storage, bytes, signal)) });
    diffIds.push(diffId());
  }
  const { os, architecture } = machinePlatform();
  const config = {
    mediaType: "application/vnd.oci.image.config.v1+json",
    ...(await store(
      storage,
      [json({ os, architecture, config: {}, rootfs: { type: "layers", diff_ids: diffIds } })],
      signal,
    )),
  };
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifestBytes = json({ schemaVersion: 2, mediaType, config, layers });
  return { manifest: { mediaType, ...identify(manifestBytes) }, manifestBytes, blobs: [config, ...layers] };
}

/** Stores bytes under a digest that is known only at their end. */
async function store(
  storage: Storage,
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal: AbortSignal,
): Promise<{ digest: string; size: number }> {
  const hash = createHash("sha256");
  let size = 0;
  const counted = async function* () {
    for await (const chunk of bytes) {
      hash.update(chunk);
      size += chunk.length;
      yield chunk;
    }
  };
  // Any name will do until the digest is known.
  const draft = createHash("sha256").update(String(performance.now())).digest("hex");
  await storage.upload(draft, counted(), { signal });
  const hex = hash.digest("hex");
  await storage.upload(hex, { path: storage.getFilePath(draft) });
  return { digest: `sha256:${hex}`, size };
}

function identify(bytes: Uint8Array): { digest: string; size: number } {
  return { digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}`, size: bytes.length };
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
