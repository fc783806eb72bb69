/** @module The one error of the tracker room. */

/**
 * - `unreachable`: no connection, a cut one, or an HTTP status that is no answer
 * - `timeout`: no whole answer in time
 * - `refused`: the tracker gave a failure reason
 * - `invalid`: what came back, or what was asked, breaks the protocol or its bounds
 * - `full`: the swarm store has no room for another peer, host or blob
 * - `aborted`: the caller gave up, or the client was closed
 */
export type TrackerErrorCode = "unreachable" | "timeout" | "refused" | "invalid" | "full" | "aborted";

/** What went wrong between a peer and a tracker. The message begins with the code. */
export class TrackerError extends Error {
  override readonly name = "TrackerError";
  readonly code: TrackerErrorCode;

  constructor(code: TrackerErrorCode, message: string, options: { cause?: unknown } = {}) {
    super(`${code}: ${message}`, options);
    this.code = code;
  }
}
