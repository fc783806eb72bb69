/**
 * The command `proxy`.
 * @module
 */
import { runService } from "../../../lib/cli/service.ts";
import { loadProxyConfig } from "./config.ts";
import { startProxy } from "./proxy.ts";

/**
 * Runs it until a signal.
 * @param args The command line behind the command. @default the process's
 * @param options.command The command as it is typed, for the help text. @default "proxy"
 */
export function run(args?: readonly string[], { command }: { command?: string } = {}): Promise<void> {
  return runService(
    {
      name: "proxy",
      command,
      about:
        "Registry mirror and HTTP proxy for the container engine of this host: blobs come from its cache, from other hosts, from a seeder, or from the registry.",
      sections: "clientCfg, proxyCfg, registries, cluster",
      load: loadProxyConfig,
      verbose: (config) => config.proxyCfg.verbose,
      start: startProxy,
    },
    args,
  );
}
