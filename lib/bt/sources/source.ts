/**
 * What pieces can be taken from. A new kind of source is one file that implements this; picker and download stay
 * as they are.
 * @module
 */
import type { Bitfield } from "../bitfield.ts";
import type { SourceKind } from "../live-blob.ts";
import { PeerError } from "./peer-error.ts";

export type SourceErrorCode =
  /** It does not have the blob (any more). */
  | "gone"
  /** It follows another list of piece hashes. */
  | "other_list"
  /** Its bytes fail their own hash. */
  | "liar"
  /** The connection or the protocol failed. */
  | "failed"
  | "aborted";

/** A source could not deliver. */
export class SourceError extends Error {
  override readonly name = "SourceError";
  readonly code: SourceErrorCode;

  constructor(code: SourceErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What is asked of a source. */
export interface PieceAsk {
  /** The piece; undefined leaves the choice to the source. */
  readonly piece: number | undefined;
  /** What this host has or asked for: the source's choice is another. */
  readonly asked: Bitfield;
  /** A piece a reader waits for, where the source chooses. */
  readonly want: number | undefined;
  /** The hash of a piece; undefined where it is not known. */
  expected(piece: number): Uint8Array | undefined;
  /** A buffer of the piece's length. */
  buffer(piece: number): Uint8Array;
  /** Takes back a buffer of a piece that did not arrive. */
  release(buffer: Uint8Array): void;
  /** Called as bytes arrive. */
  onBytes(piece: number, bytes: number): void;
  readonly signal: AbortSignal;
}

/** A piece that arrived; its bytes agree with `sha1`. */
export interface FetchedPiece {
  readonly piece: number;
  readonly bytes: Uint8Array;
  readonly sha1: Uint8Array;
}

/** What a source tells of what it has. */
export type SourceChange =
  | { readonly type: "reset" }
  | { readonly type: "added"; readonly pieces: readonly number[] }
  | { readonly type: "gone"; readonly error: SourceError };

export interface PieceSource {
  /** For logs and bans: where it is. */
  readonly name: string;
  readonly kind: SourceKind;
  /** Whether it chooses the piece (`ask.piece` undefined). */
  readonly chooses: boolean;
  /** Whether its hashes are believed where none is known. */
  readonly trusted: boolean;
  /** What it has; undefined while it has not said. Live. */
  readonly pieces: Bitfield | undefined;
  /** How many requests may be under way. */
  readonly depth: number;
  /** Begins to follow what the source has. */
  start(onChange: (change: SourceChange) => void): void;
  /**
   * @returns The piece; undefined when the source chose to give none now.
   * @throws SourceError
   */
  fetch(ask: PieceAsk): Promise<FetchedPiece | undefined>;
  close(): void;
}

/** Makes a SourceError of what a request to a peer threw. @param name Of the source. */
export function asSourceError(cause: unknown, name: string): SourceError {
  if (cause instanceof SourceError) return cause;
  const inner = cause instanceof PeerError && cause.cause instanceof SourceError ? cause.cause : undefined;
  if (inner) return inner;
  const aborted = cause instanceof PeerError ? cause.code === "aborted" : (cause as Error)?.name === "AbortError";
  return new SourceError(aborted ? "aborted" : "failed", `${name}: ${(cause as Error).message}`, { cause });
}
