/**
 * @module
 * Keeps Deno alive when its process runs out of descriptors (Deno 2.9.6).
 */
import { diskTrouble } from "../storage/disk-trouble.ts";

/** After an error of that kind all descriptors are taken to be needed elsewhere for so long, ms. */
const shortMs = 10_000;

/**
 * Leaves the places out of stack traces while there are no descriptors.
 *
 * To tell places in TypeScript, Deno reads a file; where it cannot, it compiles the module anew, and a part of that which
 * has to open a file as well panics instead of failing. Streams look at the trace of any error that ends them, so a
 * single failed connection is enough. Node is not concerned.
 */
export function spareStackTraces(): void {
  if (!("Deno" in globalThis)) return;
  let shortUntil = 0;
  Error.prepareStackTrace = (error, frames) => {
    const code = diskTrouble(error)?.code;
    if (code === "EMFILE" || code === "ENFILE") shortUntil = performance.now() + shortMs;
    const head = String(error);
    return performance.now() < shortUntil ? head : [head, ...frames.map((frame) => `    at ${frame}`)].join("\n");
  };
}
