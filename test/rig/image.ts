/**
 * @module Images for tests, made on the spot and pushed by the OCI Distribution API: no docker needed.
 */
import { createHash } from "node:crypto";
import { type CallOptions, call } from "./http-call.ts";
import { type LayerSpec, layerStream } from "./layer.ts";

/** A blob in a registry. */
export interface Descriptor {
  mediaType: string;
  digest: string;
  /** Bytes. */
  size: number;
}

/** A layer in a registry. */
export interface PushedLayer extends Descriptor {
  /** The digest of the tar before compression, as the image's config names it. */
  diffId: string;
}

/** An image in a registry. */
export interface PushedImage {
  repository: string;
  tag: string;
  manifest: Descriptor;
  config: Descriptor;
  layers: PushedLayer[];
}

/** Where to push. */
export interface PushTarget {
  registry: URL;
  /** Such as `library/app`. */
  repository: string;
  /** An Authorization header. */
  authorization?: string;
}

/** Every blob of an image: config and layers, not its manifest. */
export function blobsOf(image: PushedImage): Descriptor[] {
  return [image.config, ...image.layers];
}

/**
 * Makes an image and pushes it.
 * @param init - layers from the lowest to the top one; the same seed makes the same image.
 * @throws Error when the registry refuses.
 */
export async function pushImage(
  target: PushTarget,
  { layers, seed, tag = "1" }: { layers: readonly LayerSpec[]; seed: string; tag?: string },
): Promise<PushedImage> {
  const pushed: PushedLayer[] = [];
  for (const [index, spec] of layers.entries()) {
    const layer = layerStream(spec, { seed: `${seed}/${index}`, path: `layer-${index}.bin` });
    const descriptor = await pushBlob(target, layer.bytes, layer.mediaType);
    pushed.push({ ...descriptor, diffId: layer.diffId() });
  }
  const config = await pushBlob(
    target,
    Buffer.from(
      JSON.stringify({
        architecture: "amd64",
        os: "linux",
        config: { Cmd: ["/none"], Labels: { seed } },
        rootfs: { type: "layers", diff_ids: pushed.map(({ diffId }) => diffId) },
      }),
    ),
    "application/vnd.oci.image.config.v1+json",
  );
  const manifest = await pushManifest(target, tag, config, pushed);
  return { repository: target.repository, tag, manifest, config, layers: pushed };
}

/**
 * Uploads a blob in one streamed chunk.
 * @throws Error when the registry refuses.
 */
export async function pushBlob(
  target: PushTarget,
  bytes: Uint8Array | AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  mediaType = "application/octet-stream",
): Promise<Descriptor> {
  const session = await send(target, new URL(`/v2/${target.repository}/blobs/uploads/`, target.registry), 202, {
    method: "POST",
  });
  const hash = createHash("sha256");
  let size = 0;
  const counted = async function* () {
    for await (const chunk of bytes instanceof Uint8Array ? [bytes] : bytes) {
      hash.update(chunk);
      size += chunk.length;
      yield chunk;
    }
  };
  const patched = await send(target, locationOf(target, session.headers.location), 202, {
    method: "PATCH",
    headers: { "content-type": "application/octet-stream", "transfer-encoding": "chunked" },
    body: counted(),
  });
  const digest = `sha256:${hash.digest("hex")}`;
  const commit = locationOf(target, patched.headers.location);
  commit.searchParams.set("digest", digest);
  await send(target, commit, 201, { method: "PUT", headers: { "content-length": "0" } });
  return { mediaType, digest, size };
}

async function pushManifest(
  target: PushTarget,
  tag: string,
  config: Descriptor,
  layers: readonly PushedLayer[],
): Promise<Descriptor> {
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const body = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config,
      layers: layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
    }),
  );
  await send(target, new URL(`/v2/${target.repository}/manifests/${tag}`, target.registry), 201, {
    method: "PUT",
    headers: { "content-type": mediaType },
    body,
  });
  return { mediaType, digest: `sha256:${createHash("sha256").update(body).digest("hex")}`, size: body.length };
}

function locationOf(target: PushTarget, location: string | undefined): URL {
  if (location === undefined) throw new Error(`${target.registry} named no upload location`);
  return new URL(location, target.registry);
}

async function send(target: PushTarget, url: URL, status: number, options: CallOptions) {
  const headers = { ...options.headers, ...(target.authorization ? { authorization: target.authorization } : {}) };
  const answer = await call(url, { ...options, headers });
  if (answer.status !== status) {
    throw new Error(`${options.method} ${url}: ${answer.status} instead of ${status}: ${answer.text.slice(0, 500)}`);
  }
  return answer;
}
