/**
 * A blob, or a range of it, as a body while it arrives. Verified pieces go out at once; the byte that completes a
 * whole blob does not before the digest of the whole agrees, so that no body ends well with a wrong byte in it.
 * @module
 */
import type { BodySource } from "../http/direct-body.ts";
import { lend } from "../http/lent-chunk.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { Demand, LiveBlob } from "./live-blob.ts";
import { CHUNK } from "./piece-source.ts";

/** Blobs up to this many bytes are held until their digest agrees. */
export const HELD_WHOLE = 4 * 1024 * 1024;

export interface BlobSourceOptions {
  /** First byte. @default 0 */
  readonly start?: number;
  /** Behind the last byte. @default the size */
  readonly end?: number;
  /** Buffers of at least a chunk. */
  readonly buffers: BufferPool;
  /** Ends a wait for bytes at once: `pull` rejects. */
  readonly signal?: AbortSignal;
  /** Called when the body ended, failed or was cancelled. */
  onClose?(): void;
}

/**
 * The blob's layout must be known. Pulled in chunks of up to 1 MiB; an error of the blob is one of the body.
 * The blob stays open.
 */
export function blobSource(
  blob: LiveBlob,
  { start = 0, end = blob.size ?? 0, buffers, signal, onClose }: BlobSourceOptions,
): BodySource {
  const demand = { position: start, end, waitingSince: undefined as number | undefined };
  const forget = blob.committed ? () => {} : blob.demand(demand);
  const gone = new AbortController();
  const ended = signal ? AbortSignal.any([gone.signal, signal]) : gone.signal;
  let closed = false;
  const close = () => {
    if (closed) return;
    closed = true;
    forget();
    onClose?.();
  };
  return {
    mayWait: true,
    async pull() {
      if (demand.position >= end) {
        close();
        return undefined;
      }
      try {
        const chunk = await nextChunk(blob, { demand, buffers, signal: ended });
        demand.position += chunk.length;
        if (demand.position >= end) close();
        return chunk;
      } catch (error) {
        close();
        throw error;
      }
    },
    cancel() {
      gone.abort();
      close();
    },
  };
}

/** Resolves when the first byte of a range could go out. @throws BlobError */
export async function firstByte(blob: LiveBlob, position: number, end: number, signal?: AbortSignal): Promise<void> {
  if (readable(blob, position, end) > 0) return;
  const demand = { position, end, waitingSince: performance.now() };
  const forget = blob.demand(demand);
  try {
    await blob.waitFor(() => blob.layout !== undefined && readable(blob, position, end) > 0, signal);
  } finally {
    forget();
  }
}

async function nextChunk(
  blob: LiveBlob,
  { demand, buffers, signal }: { demand: Demand; buffers: BufferPool; signal: AbortSignal },
): Promise<Uint8Array> {
  let length = readable(blob, demand.position, demand.end);
  if (length === 0) {
    demand.waitingSince = performance.now();
    blob.hurry();
    await blob.waitFor(() => readable(blob, demand.position, demand.end) > 0, signal);
    demand.waitingSince = undefined;
    length = readable(blob, demand.position, demand.end);
  }
  const chunk = buffers.take().subarray(0, length);
  await blob.read(chunk, demand.position);
  return lend(chunk, () => buffers.give(chunk));
}

/** Bytes that may go out from a position now, at most a chunk. */
function readable(blob: LiveBlob, position: number, end: number): number {
  const { layout, have } = blob;
  if (!layout || !have || blob.error) return 0;
  const limit = Math.min(end, position + CHUNK);
  if (blob.verified) return limit - position;
  if (layout.size <= HELD_WHOLE) return 0;
  let until = position;
  while (until < limit && have.has(layout.pieceAt(until))) until = layout.end(layout.pieceAt(until));
  until = Math.min(until, limit);
  return until === layout.size ? Math.max(0, layout.start(layout.count - 1) - position) : until - position;
}
