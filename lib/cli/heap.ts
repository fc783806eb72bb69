/**
 * The JavaScript heap of a service that moves bytes.
 * @module
 */
import { setFlagsFromString } from "node:v8";

/**
 * Keeps the young generation at the size it has now. Under load V8 doubles it again and again, up to 128 MB, to collect
 * less often; but a service's short-lived objects are few and small (bytes are outside the heap), so that room would be
 * taken for nothing. Call it first thing in a process. Does nothing where the runtime does not know the flag.
 */
export function keepHeapSmall(): void {
  try {
    setFlagsFromString("--semi-space-growth-factor=1");
  } catch {
    // Another engine, or another version of it: then it takes what it takes.
  }
}
