/**
 * The command `tracker`.
 * @module
 */
import { runService } from "../../../lib/cli/service.ts";
import { loadTrackerConfig } from "./config.ts";
import { startTracker } from "./tracker.ts";

export function run(): Promise<void> {
  return runService({
    name: "tracker",
    about: "Tells peers which other peers hold or are fetching a blob.",
    sections: "trackerCfg",
    load: loadTrackerConfig,
    verbose: (config) => config.trackerCfg.verbose,
    start: startTracker,
  });
}
export { type RunningTracker, startTracker } from "./tracker.ts";
