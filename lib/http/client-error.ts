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
  if (isOutOfDescriptors(cause)) {
    const reason = `this process has as many files and connections open as it may (${code}); raise its limit of open files`;
    return new HttpClientError("connect", `${what}: no connection: ${reason}`, { cause });
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  if (code.startsWith("HPE_") || code.startsWith("ERR_INVALID") || code === "ERR_HTTP_HEADERS_SENT") {
    return new HttpClientError("protocol", `${what}: not a valid HTTP exchange: ${reason}`, { cause });
  }
  if (!connected || CONNECT_CODES.has(code)) {
    return new HttpClientError("connect", `${what}: no connection: ${reason}`, { cause });
  }
  return new HttpClientError("reset", `${what}: connection lost: ${reason}`, { cause });
}

/** Whether nothing more may be opened here for now: that says nothing about who was to be asked. */
export function isOutOfDescriptors(error: unknown): boolean {
  for (let at = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth++) {
    const code = errorCode(at);
    if (code === "EMFILE" || code === "ENFILE") return true;
  }
  return false;
}

function errorCode(cause: unknown): string {
  return cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : "";
}
