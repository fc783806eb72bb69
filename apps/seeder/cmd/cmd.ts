/**
 * The command `seeder`.
 * @module
 */
import { runService } from "../../../lib/cli/service.ts";
import { loadSeederConfig } from "./config.ts";
import { startSeeder } from "./seeder.ts";

/**
 * Runs it until a signal.
 * @param args The command line behind the command. @default the process's
 * @param options.command The command as it is typed, for the help text. @default "seeder"
 */
export function run(args?: readonly string[], { command }: { command?: string } = {}): Promise<void> {
  return runService(
    {
      name: "seeder",
      command,
      about: "Reads blobs from registries once, makes their metainfo and is their first uploader.",
      sections: "seederCfg, daemonCfg, registries, cluster",
      load: loadSeederConfig,
      verbose: (config) => config.daemonCfg.verbose,
      start: startSeeder,
    },
    args,
  );
}
