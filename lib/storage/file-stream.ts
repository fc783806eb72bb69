/**
 * @module
 * A part of an open file as a web stream, read only when asked for.
 */

import type { FileHandle } from "node:fs/promises";
import { StorageError } from "./storage.ts";

/** Options of {@link fileStream}. */
export interface FileStreamOptions {
  /** First byte. */
  readonly start: number;
  /** One past the last byte; must not exceed the file. */
  readonly end: number;
  /** Most bytes a chunk has: 1 MiB serves a warm file at the speed of raw writes. @default 1 MiB */
  readonly chunkBytes?: number;
  /** Called once when the stream ended, failed or was cancelled, with no read under way: close the file here. */
  readonly onClose?: () => void | Promise<void>;
}

/**
 * Streams bytes `[start, end)` of a file. Chunks are fresh buffers: the reader may keep them. A file that turns out
 * to be shorter than `end` errors the stream with `StorageError` "io", so it never ends as if whole.
 *
 * @param handle open for reading; several streams may share it
 */
export function fileStream(handle: FileHandle, options: FileStreamOptions): ReadableStream<Uint8Array> {
  const { start, end, chunkBytes = 1 << 20, onClose } = options;
  let position = start;
  let reading: Promise<unknown> = Promise.resolve();
  let closed = false;

  async function finish(): Promise<void> {
    if (closed) return;
    closed = true;
    await onClose?.();
  }

  async function pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    try {
      if (position < end) {
        const buffer = Buffer.allocUnsafeSlow(Math.min(chunkBytes, end - position));
        const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
        if (closed) return;
        if (bytesRead === 0) throw new StorageError("io", `file ends at byte ${position}, expected ${end}`);
        position += bytesRead;
        controller.enqueue(buffer.subarray(0, bytesRead));
      }
      if (position >= end && !closed) {
        await finish();
        controller.close();
      }
    } catch (cause) {
      // A failing close must not hide why the read failed.
      await finish().catch(() => {});
      throw cause instanceof StorageError ? cause : new StorageError("io", "reading a blob failed", { cause });
    }
  }

  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const pulling = pull(controller);
        reading = pulling.catch(() => {});
        return pulling;
      },
      async cancel() {
        // Closing a descriptor under a running read could let the read hit whatever reuses its number.
        const last = reading;
        if (!closed) {
          closed = true;
          await last;
          await onClose?.();
        }
      },
    },
    { highWaterMark: 0 },
  );
}
