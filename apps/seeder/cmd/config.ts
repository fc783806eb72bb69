/**
 * The seeder's configuration file.
 * @module
 */
import { loadConfig, type SeederConfig, seederConfigSchema } from "../../../lib/config/index.ts";

/** Reads the configuration; without a file, the defaults. @throws ConfigError */
export function loadSeederConfig(file?: string): SeederConfig {
  return loadConfig(seederConfigSchema, { app: "seeder", file });
}
