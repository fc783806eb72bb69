/**
 * Tells another host what this one has of a blob: what is there, then what is added, as `tell-after.ts` says.
 * @module
 */
import type { BodySource } from "../http/direct-body.ts";
import type { Bitfield } from "./bitfield.ts";
import type { LiveBlob } from "./live-blob.ts";
import { tellAfterMs } from "./tell-after.ts";
import { formatLine } from "./wire-format.ts";

/** Pieces that a line tells to be gone: a reader's lines are bounded. */
const REMOVED_PER_LINE = 4096;
/** An empty line tells that this host lives, ms. */
export const ALIVE_MS = 5000;

/**
 * Lines of JSON (`wire-format.ts`). What is added while a slow reader reads is one line for it, so it never falls behind
 * by more than a bitfield. What it has itself it is not told again. Ends when the blob fails or `stopping` aborts, and,
 * after telling so, when it leaves the cache; stays open after the blob is complete.
 * `onClose` is called once, at the end.
 */
export function availabilitySource(
  blob: LiveBlob,
  {
    onClose,
    stopping,
    known,
    tellAfter = () => tellAfterMs(undefined),
  }: {
    onClose: () => void;
    stopping?: AbortSignal | undefined;
    /** What the reader has, as far as it told. */
    known?: () => Bitfield | undefined;
    /** Pieces that arrive within so many ms share a line. @default as before the first piece */
    tellAfter?: () => number;
  },
): BodySource {
  const encoder = new TextEncoder();
  let added: number[] = [];
  let begun = false;
  let closed = false;
  let gone = false;
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
    else if (change.type === "removed") {
      gone = true;
      tell();
    } else if (change.type === "piece" && begun) {
      added.push(change.piece);
      batch ??= setTimeout(() => {
        batch = undefined;
        const theirs = known?.();
        if (theirs) added = added.filter((piece) => !theirs.has(piece));
        if (added.length > 0) tell();
      }, tellAfter());
    }
  });
  if (stopping?.aborted) close();
  else stopping?.addEventListener("abort", close, { once: true });
  /** An empty line where there is nothing to tell. */
  const line = () => {
    if (gone && begun && blob.layout) {
      return removeLines(blob.layout.count);
    }
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
      const bytes = encoder.encode(line());
      // The last word.
      if (gone) close();
      return bytes;
    },
    cancel: close,
  };
}

/** All pieces are gone. */
function removeLines(count: number): string {
  let lines = "";
  for (let first = 0; first < count; first += REMOVED_PER_LINE) {
    const length = Math.min(REMOVED_PER_LINE, count - first);
    lines += formatLine({ type: "remove", pieces: Array.from({ length }, (_, index) => first + index) });
  }
  return lines;
}
