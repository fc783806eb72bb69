/**
 * @module
 * Iterating a source that may never answer.
 */

import { Readable } from "node:stream";

/**
 * Yields what `source` yields, and throws the signal's reason as soon as it aborts, even while the source is silent.
 * The source is told to stop whenever the iteration ends early; it is not waited for, as it may be stuck.
 */
export async function* abortable<T>(source: AsyncIterable<T>, signal: AbortSignal | undefined): AsyncGenerator<T> {
  const { next, stop } = begin(source);
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  aborted.catch(() => {});
  const onAbort = () => reject(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  let ended = false;
  try {
    for (;;) {
      signal?.throwIfAborted();
      const result = await Promise.race([next(), aborted]);
      if (result.done) {
        ended = true;
        return;
      }
      yield result.value;
    }
  } finally {
    signal?.removeEventListener("abort", onAbort);
    if (!ended) stop()?.then(undefined, () => {});
  }
}

interface Reading<T> {
  next(): Promise<IteratorResult<T, unknown> | ReadableStreamReadResult<T>>;
  stop(): PromiseLike<unknown> | undefined;
}

/** An iterator's own `return()` queues behind a silent `next()`; streams have a way to be stopped at once. */
function begin<T>(source: AsyncIterable<T>): Reading<T> {
  if (source instanceof ReadableStream) {
    const reader: ReadableStreamDefaultReader<T> = source.getReader();
    return { next: () => reader.read(), stop: () => reader.cancel() };
  }
  const iterator = source[Symbol.asyncIterator]();
  return {
    next: () => iterator.next(),
    stop() {
      if (source instanceof Readable) source.destroy();
      return iterator.return?.();
    },
  };
}
