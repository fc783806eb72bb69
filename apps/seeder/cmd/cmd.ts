/**
 * The command `seeder`.
 * @module
 */
import { runService } from "../../../lib/cli/service.ts";
import { loadSeederConfig } from "./config.ts";
import { startSeeder } from "./seeder.ts";

export function run(): Promise<void> {
  return runService({
    name: "seeder",
    about: "Reads blobs from registries once, makes their metainfo and is their first uploader.",
    sections: "seederCfg, daemonCfg, registries",
    load: loadSeederConfig,
    verbose: (config) => config.daemonCfg.verbose,
    start: startSeeder,
  });
}
