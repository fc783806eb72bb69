/**
 * Errors of registries: what an origin did to us ({@link RegistryError}), and what we answer to clients ({@link ociError}).
 * @module
 */

/** Error codes of the OCI distribution-spec ("Error Codes") and those Docker Distribution adds. */
export type OciErrorCode =
  | "BLOB_UNKNOWN"
  | "BLOB_UPLOAD_INVALID"
  | "BLOB_UPLOAD_UNKNOWN"
  | "DIGEST_INVALID"
  | "MANIFEST_BLOB_UNKNOWN"
  | "MANIFEST_INVALID"
  | "MANIFEST_UNKNOWN"
  | "NAME_INVALID"
  | "NAME_UNKNOWN"
  | "SIZE_INVALID"
  | "UNAUTHORIZED"
  | "DENIED"
  | "UNSUPPORTED"
  | "TOOMANYREQUESTS"
  | "TAG_INVALID"
  | "RANGE_INVALID"
  | "UNAVAILABLE"
  | "UNKNOWN";

/**
 * A response with the JSON error body of the OCI distribution-spec.
 * @param detail any JSON value; left out when undefined
 * @example ociError(404, "BLOB_UNKNOWN", "blob unknown to registry", { digest: "sha256:..." })
 */
export function ociError(status: number, code: OciErrorCode, message: string, detail?: unknown): Response {
  const body = JSON.stringify({ errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] });
  return new Response(body, {
    status,
    headers: { "content-type": "application/json", "docker-distribution-api-version": "registry/2.0" },
  });
}

/**
 * What went wrong at an origin:
 * - not_found: 404 or 410
 * - unauthorized: 401 (`challenge` holds the origin's own WWW-Authenticate, if it sent one)
 * - denied: 403
 * - rate_limited: 429
 * - unavailable: no connection, connection cut, 5xx, token server out of order
 * - timeout: no headers or no progress in time
 * - protocol: an answer that makes no sense (status, Content-Range, Location, challenge)
 * - changed: the blob had another size than before
 * - range: the asked range begins after the end of the blob
 * - invalid: the request itself can not be sent (path)
 * - aborted: the caller's signal
 */
export type RegistryErrorCode =
  | "not_found"
  | "unauthorized"
  | "denied"
  | "rate_limited"
  | "unavailable"
  | "timeout"
  | "protocol"
  | "changed"
  | "range"
  | "invalid"
  | "aborted";

/** A request to an origin that did not bring what was asked. */
export class RegistryError extends Error {
  readonly code: RegistryErrorCode;
  /** Status of the origin's answer; undefined when there was none. */
  readonly status: number | undefined;
  /** WWW-Authenticate of the origin, verbatim. */
  readonly challenge: string | undefined;

  constructor(
    code: RegistryErrorCode,
    message: string,
    options: { status?: number; challenge?: string; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "RegistryError";
    this.code = code;
    this.status = options.status;
    this.challenge = options.challenge;
  }
}

/** The code for a status that is not a success. */
export function registryErrorCode(status: number): RegistryErrorCode {
  if (status === 401) return "unauthorized";
  if (status === 403) return "denied";
  if (status === 404 || status === 410) return "not_found";
  if (status === 416) return "range";
  if (status === 429) return "rate_limited";
  if (status >= 500) return "unavailable";
  return "protocol";
}
