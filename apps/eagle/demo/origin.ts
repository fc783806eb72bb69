/**
 * A registry on loopback with one image in it, which counts what it sends (OCI distribution-spec, "Pull").
 * @module
 */
import { Hono } from "hono";
import { rangeResponse } from "../../../lib/http/file-response.ts";
import { serve } from "../../../lib/http/server.ts";
import type { Logger } from "../../../lib/log/log.ts";
import { ociError } from "../../../lib/registry/errors.ts";
import { parsePath } from "../../../lib/registry/reference.ts";
import type { Storage } from "../../../lib/storage/index.ts";
import type { DemoImage } from "./image.ts";

export const REPOSITORY = "demo/app";
export const TAG = "1";

/** See the module. Closing it leaves the storage open. */
export interface DemoOrigin extends AsyncDisposable {
  /** `127.0.0.1:<port>` */
  readonly authority: string;
  /** Bytes of blobs sent, by digest. */
  readonly sent: ReadonlyMap<string, number>;
}

/** Serves the image at `127.0.0.1`, on any free port. */
export async function startOrigin(storage: Storage, image: DemoImage, { log }: { log: Logger }): Promise<DemoOrigin> {
  const sent = new Map<string, number>();
  const blobs = new Map(image.blobs.map((blob) => [blob.digest, blob]));
  const app = new Hono();
  app.get("/v2/", (c) => c.json({}));
  app.get("/v2/*", (c) => {
    const path = parsePath(c.req.path);
    if (path?.kind === "manifest" && path.repository === REPOSITORY) return manifest(c.req.raw, path.reference, image);
    const blob =
      path?.kind === "blob" && path.repository === REPOSITORY ? blobs.get(path.digest.toString()) : undefined;
    if (!blob || path?.kind !== "blob") return ociError(404, "NAME_UNKNOWN", `only ${REPOSITORY}:${TAG} is here`);
    return rangeResponse(c.req.raw, {
      size: blob.size,
      etag: blob.digest,
      contentType: "application/octet-stream",
      headers: { "docker-content-digest": blob.digest },
      open: (start, end) =>
        delivery(
          () => storage.download(path.digest.hex, { start, end }),
          (bytes) => sent.set(blob.digest, (sent.get(blob.digest) ?? 0) + bytes),
        ),
    });
  });
  const listener = await serve({ host: "127.0.0.1", port: 0, fetch: (request) => app.fetch(request), log });
  return { authority: `127.0.0.1:${listener.port}`, sent, [Symbol.asyncDispose]: () => listener.close() };
}

function manifest(request: Request, reference: string, { manifest, manifestBytes }: DemoImage): Response {
  if (reference !== TAG && reference !== manifest.digest)
    return ociError(404, "MANIFEST_UNKNOWN", `no ${reference} here`);
  return rangeResponse(request, {
    size: manifest.size,
    etag: manifest.digest,
    contentType: manifest.mediaType,
    headers: { "docker-content-digest": manifest.digest },
    open: () => new Blob([manifestBytes as Uint8Array<ArrayBuffer>]).stream(),
  });
}

/** Opens the bytes when they are asked for, and counts them as they go out. */
function delivery(
  open: () => Promise<ReadableStream<Uint8Array>>,
  onBytes: (bytes: number) => void,
): ReadableStream<Uint8Array> {
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        reader ??= (await open()).getReader();
        const { value, done } = await reader.read();
        if (done) return controller.close();
        onBytes(value.length);
        controller.enqueue(value);
      },
      async cancel() {
        await reader?.cancel();
      },
    },
    { highWaterMark: 0 },
  );
}
