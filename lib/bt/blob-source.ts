/**
 * A blob, or a range of it, as a body while it arrives. Verified pieces go out at once; the byte that completes a
 * whole blob does not before the digest of the whole agrees, so that no body ends well with a wrong byte in it.
 * @module
 */
import type { BodySource } from "../http/direct-body.ts";
import { lend } from "../http/lent-chunk.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { BlobChange, Demand, LiveBlob } from "./live-blob.ts";
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
  const demand: Demand = { position: start, end, waitingSince: undefined };
  const forget = blob.committed ? () => {} : blob.demand(demand);
  const wait = new ReaderWait(blob, demand, signal);
  let closed = false;
  const close = () => {
    if (closed) return;
    closed = true;
    forget();
    wait.close();
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
        let length = readable(blob, demand.position, end);
        if (length === 0) {
          await wait.forBytes();
          length = readable(blob, demand.position, end);
        }
        const chunk = buffers.take().subarray(0, length);
        await blob.read(chunk, demand.position);
        demand.position += length;
        if (demand.position >= end) close();
        return lend(chunk, () => buffers.give(chunk));
      } catch (error) {
        close();
        throw error;
      }
    },
    cancel() {
      wait.giveUp(new DOMException("the reader left", "AbortError"));
      close();
    },
  };
}

/** A reader's waits for its next bytes. It listens once for all of them: there is one for most pieces. */
class ReaderWait {
  readonly #blob: LiveBlob;
  readonly #demand: Demand;
  readonly #signal: AbortSignal | undefined;
  #waiting: { resolve(): void; reject(reason: unknown): void } | undefined;
  #unsubscribe: (() => void) | undefined;

  constructor(blob: LiveBlob, demand: Demand, signal: AbortSignal | undefined) {
    this.#blob = blob;
    this.#demand = demand;
    this.#signal = signal;
  }

  /** Resolves when there is something to read; the download hears that somebody waits. @throws as `LiveBlob.waitFor` */
  async forBytes(): Promise<void> {
    const blob = this.#blob;
    this.#signal?.throwIfAborted();
    if (blob.error) throw blob.error;
    this.#listen();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting = { resolve, reject };
    this.#demand.waitingSince = performance.now();
    blob.hurry();
    await promise;
    this.#demand.waitingSince = undefined;
  }

  /** Ends a wait. */
  giveUp(reason: unknown): void {
    this.#waiting?.reject(reason);
    this.#waiting = undefined;
  }

  close(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }

  readonly #onAbort = () => this.giveUp(this.#signal?.reason);

  #listen(): void {
    if (this.#unsubscribe) return;
    this.#unsubscribe = this.#blob.subscribe((change) => this.#onChange(change));
    this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  #onChange(change: BlobChange): void {
    if (!this.#waiting) return;
    if (readable(this.#blob, this.#demand.position, this.#demand.end) > 0) {
      this.#waiting.resolve();
      this.#waiting = undefined;
    } else if (change.type === "failed") {
      this.giveUp(change.error);
    }
  }
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
