/**
 * @module
 * Leaving a wait that others go on with.
 */

/** Settles as `wait` does, or rejects with the signal's reason if that comes first; `wait` itself is not stopped. */
export function abortable<T>(wait: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return wait;
  if (signal.aborted) return Promise.reject(signal.reason);
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  wait.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  return promise;
}
