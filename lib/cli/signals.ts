/**
 * Ends a process in order when it is asked to: SIGTERM (systemd, Kubernetes) and SIGINT (Ctrl-C).
 *
 * @module
 */
import { constants } from "node:os";

/** The signals that ask a process to end. */
export type ShutdownSignal = "SIGTERM" | "SIGINT";

const signals: readonly ShutdownSignal[] = ["SIGTERM", "SIGINT"];

/** The part of `process` that {@link onShutdown} uses. */
export interface ShutdownProcess {
  on(signal: ShutdownSignal, listener: (signal: ShutdownSignal) => void): unknown;
  off(signal: ShutdownSignal, listener: (signal: ShutdownSignal) => void): unknown;
  exit(code: number): void;
}

/** What {@link onShutdown} may be told. */
export interface ShutdownOptions {
  /** How long the handler may take, ms; then the process exits with 1. @default 30000 */
  graceMs?: number;
  /** Hears of a handler that failed or took too long. @default writes to stderr */
  onError?: (error: unknown) => void;
  /** @default process */
  process?: ShutdownProcess;
}

/**
 * Calls `handler` at the first signal, once, and exits when it is done: with 0, or with 1 when it failed or took
 * longer than `graceMs`. A second signal exits at once, with 128 + the signal's number, as shells expect.
 *
 * The caller disposes of what it gets when the process goes on by itself (nothing listens then).
 *
 * @example onShutdown(async () => { await listener.close(); });
 */
export function onShutdown(
  handler: (signal: ShutdownSignal) => void | Promise<void>,
  { graceMs = 30_000, onError = complain, process: target = defaultProcess() }: ShutdownOptions = {},
): Disposable {
  let asked = false;
  const listener = (signal: ShutdownSignal): void => {
    if (asked) {
      target.exit(128 + constants.signals[signal]);
      return;
    }
    asked = true;
    const timer = setTimeout(() => {
      onError(new Error(`still busy ${graceMs} ms after ${signal}`));
      target.exit(1);
    }, graceMs);
    run(signal).then(
      () => {
        clearTimeout(timer);
        target.exit(0);
      },
      (error: unknown) => {
        clearTimeout(timer);
        onError(error);
        target.exit(1);
      },
    );
  };
  // An async function, so that a handler that throws at once is a failure like any other.
  const run = async (signal: ShutdownSignal): Promise<void> => handler(signal);
  for (const signal of signals) target.on(signal, listener);
  return {
    [Symbol.dispose]() {
      for (const signal of signals) target.off(signal, listener);
    },
  };
}

function defaultProcess(): ShutdownProcess {
  return {
    on: (signal, listener) => process.on(signal, listener),
    off: (signal, listener) => process.off(signal, listener),
    exit: (code) => process.exit(code),
  };
}

function complain(error: unknown): void {
  process.stderr.write(`while stopping: ${error instanceof Error ? error.message : String(error)}\n`);
}
