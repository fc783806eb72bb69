/**
 * A manifest for the engine: from the cache if the registry says that it still holds, by way of a seeder where anyone
 * may read it, else from the registry in the engine's name.
 * @module
 */
import { parseAccept } from "../../../lib/manifests/accept.ts";
import { isCheckable } from "../../../lib/manifests/manifest.ts";
import { manifestResponse, refusalResponse } from "../../../lib/manifests/manifest-response.ts";
import { createDigestHash, type Digest, isDigest, parseDigest } from "../../../lib/registry/digest.ts";
import { ociError } from "../../../lib/registry/errors.ts";
import type { Upstream } from "../../../lib/registry/upstreams.ts";
import type { ProxyParts } from "../cmd/parts.ts";
import { passThrough, readerOf, unavailable } from "./pass-through.ts";

export interface ManifestRouteQuery {
  readonly upstream: Upstream;
  readonly repository: string;
  /** Tag or digest. */
  readonly reference: string;
  /** Path and query at the registry. */
  readonly target: string;
}

/** A body that ends well only if its bytes are those of the digest, where that can be told. */
function checked(response: Response, digest: Digest): Response {
  const { status, headers, body } = response;
  const isPlain = (headers.get("content-encoding") ?? "identity") === "identity";
  if (status !== 200 || !body || !isPlain || !isCheckable(headers.get("content-type") ?? "")) return response;
  const hash = createDigestHash(digest);
  let held: Uint8Array | undefined;
  const check = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      hash.update(chunk);
      if (held) controller.enqueue(held);
      held = chunk;
    },
    flush(controller) {
      if (hash.digest("hex") !== digest.hex) controller.error(new Error(`manifest ${digest}: other bytes came`));
      else if (held) controller.enqueue(held);
    },
  });
  return new Response(body.pipeThrough(check), { status, headers });
}

/** Answers GET and HEAD of a manifest. */
export async function serveManifest(
  request: Request,
  { upstream, repository, reference, target }: ManifestRouteQuery,
  parts: ProxyParts,
): Promise<Response> {
  const { origins, via, metrics, log } = parts;
  const what = `manifest ${reference} of ${upstream.name}/${repository}`;
  const direct = async () => {
    const caller = readerOf(request, upstream);
    const answered = await passThrough(request, { origins, upstream, path: target, via, caller });
    const response = isDigest(reference) ? checked(answered, parseDigest(reference)) : answered;
    response.headers.set("x-eagle-source", "origin");
    metrics.manifests.inc({ source: "direct" });
    return response;
  };
  try {
    const answer = await parts.manifests.get({
      place: { upstream, repository },
      reference,
      accept: parseAccept(request.headers.get("accept")),
      wantsBytes: request.method !== "HEAD",
      authorization: request.headers.get("authorization") ?? undefined,
      signal: request.signal,
    });
    switch (answer.kind) {
      case "found":
        metrics.manifests.inc({ source: answer.isStale ? "stale" : answer.source });
        if (answer.isStale) log.warn("a tag is answered by what it stood for: its registry does not answer", { what });
        return manifestResponse(request, answer, { "x-eagle-source": answer.source });
      case "refused":
        metrics.manifests.inc({ source: "refused" });
        return refusalResponse(answer, what);
      case "unfit":
        return await direct();
      case "down":
        // One that answers, if with an error, or slowly, is heard out.
        if (answer.error.status !== undefined || answer.error.code === "timeout") return await direct();
        return unavailable(answer.error, upstream);
    }
  } catch (error) {
    request.signal.throwIfAborted();
    log.error("a manifest cannot be served", { what, error });
    return ociError(502, "UNAVAILABLE", `${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
