/**
 * @module Waiting for something to become true, with a bound.
 */
import { setTimeout as sleep } from "node:timers/promises";

/** How long to wait and how often to look. */
export interface UntilOptions {
  /** What is awaited, for the error message. */
  what: string;
  /** @default 20000 */
  timeoutMs?: number;
  /** @default 50 */
  everyMs?: number;
}

/** Thrown by the question of `until` when waiting longer is useless. */
export class HopelessError extends Error {
  override name = "HopelessError";
}

/**
 * Asks again and again until the answer is neither undefined nor false.
 * @param ask - may throw: the last error becomes the cause of the failure; a HopelessError ends the wait.
 * @returns the first good answer.
 * @throws Error naming `what` when the time is over.
 */
export async function until<T>(
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  { what, timeoutMs = 20_000, everyMs = 50 }: UntilOptions,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  let cause: unknown;
  while (performance.now() < end) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      cause = undefined;
    } catch (error) {
      if (error instanceof HopelessError) throw error;
      cause = error;
    }
    await sleep(everyMs);
  }
  throw new Error(`waited ${timeoutMs} ms in vain for ${what}`, { cause });
}
