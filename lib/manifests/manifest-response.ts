/**
 * A manifest as an HTTP answer.
 * @module
 */
import { rangeResponse } from "../http/file-response.ts";
import { ociError } from "../registry/errors.ts";
import type { Refusal } from "./origin-manifests.ts";
import type { FoundManifest } from "./public-manifests.ts";

/**
 * Answers GET and HEAD, If-None-Match included. One that is stale says so (RFC 9111, 4.2.4; the codes are those of RFC
 * 7234, 5.5).
 * @param headers further ones
 */
export function manifestResponse(
  request: Request,
  { resolved, isStale }: FoundManifest,
  headers: Record<string, string> = {},
): Response {
  const response = rangeResponse(request, {
    size: resolved.size,
    etag: resolved.digest.toString(),
    contentType: resolved.mediaType,
    headers: {
      "docker-content-digest": resolved.digest.toString(),
      "docker-distribution-api-version": "registry/2.0",
      vary: "Accept",
      ...headers,
    },
    open: (start, end) => new Blob([bytesOf(resolved).subarray(start, end)]).stream(),
  });
  if (isStale) response.headers.set("warning", '110 eagle "Response is Stale", 111 eagle "Revalidation Failed"');
  return response;
}

function bytesOf(resolved: FoundManifest["resolved"]): Uint8Array<ArrayBuffer> {
  if (!("bytes" in resolved)) throw new TypeError("a manifest without its bytes was to be sent");
  return resolved.bytes as Uint8Array<ArrayBuffer>;
}

/** What the origin said, in its own words where those are here. @param what Which manifest of whom, for messages. */
export function refusalResponse({ status, challenge, body, contentType }: Refusal, what: string): Response {
  const code = status === 401 ? "UNAUTHORIZED" : status === 403 ? "DENIED" : "MANIFEST_UNKNOWN";
  const response =
    body && body.length > 0
      ? new Response(body as Uint8Array<ArrayBuffer>, {
          status,
          headers: {
            "content-type": contentType ?? "application/json",
            "docker-distribution-api-version": "registry/2.0",
          },
        })
      : ociError(status, code, `${what}: the registry answers ${status}`);
  if (challenge) response.headers.set("www-authenticate", challenge);
  return response;
}
