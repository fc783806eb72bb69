/**
 * @module
 * The clock of a running process.
 */

import { clearTimeout, setTimeout } from "node:timers";
import type { SetTimer } from "./cacheable.ts";

/** A timer that does not keep the process alive. */
export const backgroundTimer: SetTimer = (run, ms) => {
  const timer = setTimeout(run, ms);
  timer.unref();
  return { cancel: () => clearTimeout(timer) };
};
