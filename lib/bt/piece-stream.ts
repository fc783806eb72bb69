/**
 * Verified bytes of a blob as a stream for another host: within the host's upload limit.
 * @module
 */
import { lend } from "../http/lent-chunk.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { RateLimiter } from "./limiter.ts";
import type { LiveBlob } from "./live-blob.ts";

/** Longest chunk of a body, bytes. */
export const CHUNK = 1024 * 1024;

export interface PieceStreamInit {
  readonly start: number;
  /** Behind the last byte; all pieces in between are there. */
  readonly end: number;
  readonly limiter: RateLimiter;
  /** Buffers of at least a chunk. */
  readonly buffers: BufferPool;
  /** Awaited before each chunk, where others go first. */
  turn?(bytes: number, signal: AbortSignal): Promise<void>;
  onBytes?(bytes: number): void;
  /** Called once, when the stream ended, failed or was cancelled. */
  onClose?(): void;
}

/** Pulled in chunks of up to 1 MiB. */
export function pieceStream(
  blob: LiveBlob,
  { start, end, limiter, buffers, turn, onBytes, onClose }: PieceStreamInit,
): ReadableStream<Uint8Array> {
  const gone = new AbortController();
  let position = start;
  let closed = false;
  const close = () => {
    if (closed) return;
    closed = true;
    onClose?.();
  };
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const length = Math.min(CHUNK, end - position);
          await turn?.(length, gone.signal);
          await limiter.take(length, gone.signal);
          const chunk = buffers.take().subarray(0, length);
          await blob.read(chunk, position);
          lend(chunk, () => buffers.give(chunk));
          position += chunk.length;
          onBytes?.(chunk.length);
          controller.enqueue(chunk);
          if (position < end) return;
          controller.close();
          close();
        } catch (error) {
          close();
          if (!gone.signal.aborted) controller.error(error);
        }
      },
      cancel() {
        gone.abort();
        close();
      },
    },
    { highWaterMark: 0 },
  );
}
