/**
 * Work that Ctrl-C or SIGTERM ends early, with its clean-up done.
 * @module
 */
import { constants } from "node:os";
import { onShutdown } from "../../../lib/cli/signals.ts";

/**
 * Runs `work` with a signal that aborts at SIGINT or SIGTERM. The process then ends when `work` has ended, with 128 +
 * the signal's number: half a download must not look like success to a script.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const ended = Promise.withResolvers<void>();
  const listening = onShutdown(async (signal) => {
    controller.abort(new Error(`interrupted by ${signal}`));
    await ended.promise;
    process.exit(128 + constants.signals[signal]);
  });
  try {
    return await work(controller.signal);
  } finally {
    ended.resolve();
    listening[Symbol.dispose]();
  }
}
