/**
 * What goes wrong with requests to peers.
 * @module
 */

export type PeerErrorCode = "connect" | "closed" | "timeout" | "protocol" | "aborted" | "refused";

/** A request to a peer failed. */
export class PeerError extends Error {
  override readonly name = "PeerError";
  readonly code: PeerErrorCode;

  constructor(code: PeerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
