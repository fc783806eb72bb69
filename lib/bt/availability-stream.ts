/**
 * Tells another host what this one has of a blob: what is there, then what is added, within milliseconds.
 * @module
 */
import type { LiveBlob } from "./live-blob.ts";
import { formatLine } from "./wire-format.ts";

/** Pieces that arrive within this time share a line, ms. */
const BATCH_MS = 10;
/** An empty line tells that this host lives, ms. */
const ALIVE_MS = 5000;
/** Lines that wait for a slow reader; one that falls further behind is left. */
const MAX_BACKLOG = 1024;

/**
 * Ends when the blob fails or `stopping` aborts; stays open after the blob is complete. `onClose` is called once, at the
 * end.
 */
export function availabilityStream(
  blob: LiveBlob,
  { onClose, stopping }: { onClose: () => void; stopping?: AbortSignal | undefined },
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let added: number[] = [];
  let begun = false;
  let batch: ReturnType<typeof setTimeout> | undefined;
  let alive: ReturnType<typeof setInterval> | undefined;
  let unsubscribe = () => {};
  let closed = false;
  let end = () => {};
  const close = () => {
    if (closed) return;
    closed = true;
    stopping?.removeEventListener("abort", end);
    clearTimeout(batch);
    clearInterval(alive);
    unsubscribe();
    onClose();
  };
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const send = (text: string) => {
          if (closed) return;
          if ((controller.desiredSize ?? 0) < -MAX_BACKLOG) {
            close();
            controller.error(new Error("the reader of a list of pieces is too slow"));
          } else controller.enqueue(encoder.encode(text));
        };
        end = () => {
          if (closed) return;
          close();
          controller.close();
        };
        if (stopping?.aborted) return end();
        stopping?.addEventListener("abort", end, { once: true });
        const begin = () => {
          if (begun || !blob.layout || !blob.have) return;
          begun = true;
          send(formatLine({ type: "have", bits: blob.have }));
        };
        unsubscribe = blob.subscribe((change) => {
          if (change.type === "layout") begin();
          else if (change.type === "failed") end();
          else if (change.type === "piece") {
            added.push(change.piece);
            batch ??= setTimeout(() => {
              batch = undefined;
              send(formatLine({ type: "add", pieces: added }));
              added = [];
            }, BATCH_MS);
          }
        });
        alive = setInterval(() => send("\n"), ALIVE_MS);
        send("\n");
        begin();
      },
      cancel: close,
    },
    new CountQueuingStrategy({ highWaterMark: 16 }),
  );
}
