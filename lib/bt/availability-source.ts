/**
 * Tells another host what this one has of a blob: what is there, then what is added, within milliseconds.
 * @module
 */
import type { BodySource } from "../http/direct-body.ts";
import type { LiveBlob } from "./live-blob.ts";
import { formatLine } from "./wire-format.ts";

/** Pieces that arrive within this time share a line, ms. */
const BATCH_MS = 10;
/** An empty line tells that this host lives, ms. */
const ALIVE_MS = 5000;

/**
 * Lines of JSON (`wire-format.ts`). What is added while a slow reader reads is one line for it, so it never falls behind
 * by more than a bitfield. Ends when the blob fails or `stopping` aborts; stays open after the blob is complete.
 * `onClose` is called once, at the end.
 */
export function availabilitySource(
  blob: LiveBlob,
  { onClose, stopping }: { onClose: () => void; stopping?: AbortSignal | undefined },
): BodySource {
  const encoder = new TextEncoder();
  let added: number[] = [];
  let begun = false;
  let closed = false;
  let due = true;
  let wake = () => {};
  let batch: ReturnType<typeof setTimeout> | undefined;
  const tell = () => {
    due = true;
    wake();
  };
  const alive = setInterval(tell, ALIVE_MS);
  const close = () => {
    if (closed) return;
    closed = true;
    stopping?.removeEventListener("abort", close);
    clearTimeout(batch);
    clearInterval(alive);
    unsubscribe();
    wake();
    onClose();
  };
  const unsubscribe = blob.subscribe((change) => {
    if (change.type === "layout") tell();
    else if (change.type === "failed") close();
    else if (change.type === "piece" && begun) {
      added.push(change.piece);
      batch ??= setTimeout(() => {
        batch = undefined;
        tell();
      }, BATCH_MS);
    }
  });
  if (stopping?.aborted) close();
  else stopping?.addEventListener("abort", close, { once: true });
  /** An empty line where there is nothing to tell. */
  const line = () => {
    if (!begun) {
      if (!blob.layout || !blob.have) return "\n";
      begun = true;
      return formatLine({ type: "have", bits: blob.have });
    }
    if (added.length === 0) return "\n";
    const pieces = added;
    added = [];
    return formatLine({ type: "add", pieces });
  };
  return {
    async pull() {
      if (!due && !closed) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      if (closed) return undefined;
      due = false;
      return encoder.encode(line());
    },
    cancel: close,
  };
}
