/**
 * The command `proxy`.
 * @module
 */
import { runService } from "../../../lib/cli/service.ts";
import { loadProxyConfig } from "./config.ts";
import { startProxy } from "./proxy.ts";

export function run(): Promise<void> {
  return runService({
    name: "proxy",
    about: "Registry mirror and HTTP proxy for the container engine of this host: blobs come from its cache, from other hosts, from a seeder, or from the registry.",
    sections: "clientCfg, proxyCfg, registries",
    load: loadProxyConfig,
    verbose: (config) => config.proxyCfg.verbose,
    start: startProxy,
  });
}
