/** @module The tracker's configuration file. */
import { loadConfig } from "../../../lib/config/load.ts";
import { type TrackerConfig, trackerConfigSchema } from "../../../lib/config/tracker.ts";

/**
 * Reads the configuration; without a file, the defaults.
 *
 * @throws ConfigError
 */
export function loadTrackerConfig(file?: string): TrackerConfig {
  return loadConfig(trackerConfigSchema, { app: "tracker", file });
}
