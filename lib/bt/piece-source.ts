/**
 * Verified bytes of a blob as a body for another host: within the host's upload limit.
 * @module
 */
import type { BodySource } from "../http/direct-body.ts";
import { lend } from "../http/lent-chunk.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { RateLimiter } from "./limiter.ts";
import type { LiveBlob } from "./live-blob.ts";

/** Longest chunk of a body, bytes. */
export const CHUNK = 1024 * 1024;

export interface PieceSourceInit {
  readonly start: number;
  /** Behind the last byte; all pieces in between are there. */
  readonly end: number;
  readonly limiter: RateLimiter;
  /** Whether a reader of the asker waits for it. @default false */
  readonly wanted?: boolean;
  /** Buffers of at least a chunk. */
  readonly buffers: BufferPool;
  /** Awaited before each chunk, where others go first. */
  turn?(bytes: number, signal: AbortSignal): Promise<void>;
  onBytes?(bytes: number): void;
  /** Called once, when the body ended, failed or was cancelled. `end` is "sent" where all of it was taken. */
  onClose?(end: "sent" | "left"): void;
}

/** Pulled in chunks of up to 1 MiB. */
export function pieceSource(
  blob: LiveBlob,
  { start, end, limiter, wanted = false, buffers, turn, onBytes, onClose }: PieceSourceInit,
): BodySource {
  const gone = new AbortController();
  // All of a key are urgent or none.
  const key = wanted ? `${blob.id} wanted` : blob.id;
  let position = start;
  let closed = false;
  const close = (how: "sent" | "left") => {
    if (closed) return;
    closed = true;
    onClose?.(how);
  };
  return {
    async pull() {
      if (position >= end) {
        close("sent");
        return undefined;
      }
      try {
        const length = Math.min(CHUNK, end - position);
        await turn?.(length, gone.signal);
        if (limiter.limited) await limiter.take(length, { key, urgent: () => wanted, signal: gone.signal });
        const chunk = buffers.take().subarray(0, length);
        await blob.read(chunk, position);
        position += length;
        onBytes?.(length);
        return lend(chunk, () => buffers.give(chunk));
      } catch (error) {
        close("left");
        throw error;
      }
    },
    cancel() {
      gone.abort();
      close("left");
    },
  };
}
