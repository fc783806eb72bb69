/**
 * The proxy's configuration file.
 * @module
 */
import { loadConfig, type ProxyConfig, proxyConfigSchema } from "../../../lib/config/index.ts";

/** Reads the configuration; without a file, the defaults. @throws ConfigError */
export function loadProxyConfig(file?: string): ProxyConfig {
  return loadConfig(proxyConfigSchema, { app: "proxy", file });
}
