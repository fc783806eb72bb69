/**
 * @module
 * Tells a waiting client that the seeder is there, though the origin has not spoken yet.
 */
import type { BlobEvent } from "./meta-info.ts";

/**
 * The events as they come; if the first takes longer than `afterMs`, one `progress` of 0 bytes goes ahead of it, so that a
 * slow origin is not taken for a mute seeder. Only one: later silence is the source's own and must be seen.
 *
 * Ends (by throwing the signal's reason) when `signal` is aborted, even if the source ignores it; the source's iterator is
 * always returned.
 */
export async function* withSignOfLife(
  events: AsyncIterable<BlobEvent>,
  { afterMs, signal }: { afterMs: number; signal: AbortSignal },
): AsyncGenerator<BlobEvent, void, undefined> {
  signal.throwIfAborted();
  const source = events[Symbol.asyncIterator]();
  let stop: () => void = () => {};
  const left = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
  });
  left.catch(() => {}); // the race below may be over when it rejects
  signal.addEventListener("abort", stop, { once: true });
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    let next = source.next();
    const silence = new Promise<"silent">((resolve) => {
      timer = setTimeout(resolve, afterMs, "silent");
    });
    const first = await Promise.race([next, silence, left]);
    clearTimeout(timer);
    if (first === "silent") yield { type: "progress", bytes: 0 };
    for (;;) {
      const result = await Promise.race([next, left]);
      if (result.done) return;
      yield result.value;
      next = source.next();
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    // Not awaited: a source stuck in its own wait must not keep this stream.
    source.return?.().catch(() => {});
  }
}
