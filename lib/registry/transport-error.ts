/**
 * Waits that can be given up, and errors of the HTTP client as {@link RegistryError}.
 * @module
 */
import { RegistryError, type RegistryErrorCode } from "./errors.ts";

/**
 * A RegistryError for whatever a request or a body threw.
 * @param what who was asked for what, for the message
 */
export function toRegistryError(error: unknown, what: string, signal?: AbortSignal): RegistryError {
  if (signal?.aborted) return new RegistryError("aborted", `${what}: the caller left`, { cause: signal.reason });
  if (error instanceof RegistryError) return error;
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const reason = error instanceof Error ? error.message : String(error);
  return new RegistryError(codeOf(code), `${what}: ${reason}`, { cause: error });
}

function codeOf(code: unknown): RegistryErrorCode {
  if (code === "timeout") return "timeout";
  if (code === "aborted") return "aborted";
  // Node's HTTP parser names its complaints so.
  if (code === "protocol" || (typeof code === "string" && code.startsWith("HPE_"))) return "protocol";
  return "unavailable";
}

/** Waits for `promise`, or until the signal: then rejects with a RegistryError of code aborted. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    const leave = () => reject(new RegistryError("aborted", "the caller left", { cause: signal.reason }));
    if (signal.aborted) {
      leave();
      return;
    }
    signal.addEventListener("abort", leave, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", leave));
  });
}

/** Sleeps; rejects with a RegistryError of code aborted when the signal comes first. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await abortable(
      new Promise<void>((resolve) => {
        timer = setTimeout(resolve, ms);
      }),
      signal,
    );
  } finally {
    clearTimeout(timer);
  }
}
