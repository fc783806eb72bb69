/**
 * Bounds on waiting for others that go by the time this process had to listen. Where its loop had no pause at all, an
 * answer may well be lying there unread; to give up then, and ask somebody else as well, would only add to the load.
 * @module
 */
import { performance } from "node:perf_hooks";

/** Shares of its time in which the loop ran something, since the marks were made. Deno tells nothing: always 0. */
export interface LoopMeter {
  /** @returns The share from this call on, as of when it is asked. */
  mark(): () => number;
}

const loopMeter: LoopMeter = {
  mark() {
    const since = performance.eventLoopUtilization();
    return () => performance.eventLoopUtilization(since).utilization;
  },
};

/** Above this share a wait does not count. */
const BUSY = 0.9;
/** So often at most: no wait is longer than this and one times its bound. */
const EXTENSIONS = 2;

/**
 * Calls `onLate` after `ms`; later, at most after three times that, where this process had no pause meanwhile.
 * @returns Ends it.
 */
export function afterPatience(ms: number, onLate: () => void, meter: LoopMeter = loopMeter): () => void {
  let timer: ReturnType<typeof setTimeout>;
  const wait = (extensions: number) => {
    const busy = meter.mark();
    timer = setTimeout(() => {
      if (extensions > 0 && busy() > BUSY) wait(extensions - 1);
      else onLate();
    }, ms);
  };
  wait(EXTENSIONS);
  return () => clearTimeout(timer);
}

/** A signal that aborts as {@link afterPatience} says, for as long as `run` runs. */
export async function withPatience<T>(ms: number, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const end = afterPatience(ms, () => {
    controller.abort(new DOMException(`nothing within ${ms} ms`, "TimeoutError"));
  });
  try {
    return await run(controller.signal);
  } finally {
    end();
  }
}
