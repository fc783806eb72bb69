/**
 * What a process asks of its JavaScript runtime, before it loads anything else.
 * @module
 */
import module from "node:module";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";

const compileCache = fileURLToPath(new URL("../../node_modules/.cache/eagle", import.meta.url));

/**
 * Call it first thing in a process, and import the rest afterwards. Does nothing where the runtime does not know how.
 *
 * - The young generation stays at the size it starts with. V8 doubles it again and again, while modules load and under
 *   load, to collect less often; but a service's short-lived objects are few and small (bytes are outside the heap), so
 *   that room would be taken for nothing, and buffers that nobody reads any more would be found later.
 * - Compiled code, and TypeScript without its types, are kept beside the packages: the next start takes half the time.
 */
export function prepareRuntime(): void {
  try {
    setFlagsFromString("--semi-space-growth-factor=1");
  } catch {
    // Another engine, or another version of it: then it takes what it takes.
  }
  module.enableCompileCache?.(compileCache);
}
