/**
 * The command `tracker`.
 * @module
 */
import { runService } from "../../../lib/cli/service.ts";
import { loadTrackerConfig } from "./config.ts";
import { startTracker } from "./tracker.ts";

/**
 * Runs it until a signal.
 * @param args The command line behind the command. @default the process's
 * @param options.command The command as it is typed, for the help text. @default "tracker"
 */
export function run(args?: readonly string[], { command }: { command?: string } = {}): Promise<void> {
  return runService(
    {
      name: "tracker",
      command,
      about: "Tells peers which other peers hold or are fetching a blob.",
      sections: "trackerCfg, cluster",
      load: loadTrackerConfig,
      verbose: (config) => config.trackerCfg.verbose,
      start: startTracker,
    },
    args,
  );
}
export { type RunningTracker, startTracker } from "./tracker.ts";
