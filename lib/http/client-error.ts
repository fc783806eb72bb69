/**
 * @module
 * The one error of the HTTP client.
 */

/**
 * Why a request failed:
 * - connect: no connection (refused, unreachable, name unknown, TLS handshake or certificate)
 * - timeout: connect, headers or the next body byte took too long
 * - reset: the connection ended before the answer did
 * - protocol: the answer is not HTTP, too large in its headers, or not what it declared
 * - aborted: the caller's signal, or the client was closed
 */
export type HttpClientErrorCode = "connect" | "timeout" | "reset" | "protocol" | "aborted";

/** Failure of an upstream request, before its headers (rejection) or in its body (stream error). */
export class HttpClientError extends Error {
  override readonly name = "HttpClientError";
  readonly code: HttpClientErrorCode;

  constructor(code: HttpClientErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

const CONNECT_CODES = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EHOSTDOWN",
  "EADDRNOTAVAIL",
  "EADDRINUSE",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ETIMEDOUT",
  "EMFILE",
  "EACCES",
  "EPERM",
]);

/**
 * Makes an HttpClientError of whatever a runtime reports.
 *
 * @param cause what was thrown or emitted; an HttpClientError passes unchanged
 * @param context `connected`: the connection was up; `what`: method and URL for the message
 */
export function toClientError(
  cause: unknown,
  { connected, what }: { connected: boolean; what: string },
): HttpClientError {
  if (cause instanceof HttpClientError) {
    return cause;
  }
  const code = errorCode(cause);
  const reason = cause instanceof Error ? cause.message : String(cause);
  if (code.startsWith("HPE_") || code.startsWith("ERR_INVALID") || code === "ERR_HTTP_HEADERS_SENT") {
    return new HttpClientError("protocol", `${what}: not a valid HTTP exchange: ${reason}`, { cause });
  }
  if (!connected || CONNECT_CODES.has(code)) {
    return new HttpClientError("connect", `${what}: no connection: ${reason}`, { cause });
  }
  return new HttpClientError("reset", `${what}: connection lost: ${reason}`, { cause });
}

function errorCode(cause: unknown): string {
  return cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : "";
}
