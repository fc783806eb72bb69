/**
 * Whether the container engines of this host pull through the proxy.
 * @module
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { ProxyConfig } from "../../../lib/config/index.ts";
import { ConfigError } from "../../../lib/config/index.ts";
import { registryNames } from "../../../lib/registry/names.ts";
import { EditError } from "../engines/edit.ts";
import type { Engine, EngineSettings } from "../engines/engine.ts";
import { ENGINES } from "../engines/engines.ts";
import type { Check, DoctorContext } from "./check.ts";

/** One finding an engine at least; engines that are not there are left out. */
export async function checkEngines({ proxyCfg, registries }: ProxyConfig, { root }: DoctorContext): Promise<Check[]> {
  const host = proxyCfg.host === "0.0.0.0" || proxyCfg.host === "::" ? "127.0.0.1" : proxyCfg.host;
  const scheme = proxyCfg.certFile ? "https" : "http";
  const proxy = new URL(`${scheme}://${host.includes(":") ? `[${host}]` : host}:${proxyCfg.port}`);
  const names = registryNames({ origin: proxyCfg.origin, origins: proxyCfg.origins, others: Object.keys(registries) });
  const settings = { root, proxy, registries: names };
  const defaultRegistry = proxyCfg.origin === undefined ? undefined : registryNames({ origin: proxyCfg.origin })[0];
  const checks: Check[] = [];
  for (const engine of ENGINES) {
    if (await isThere(engine, root)) checks.push(...(await inspect(engine, settings, { defaultRegistry })));
  }
  if (checks.length > 0) return checks;
  return [{ name: "engine", status: "warn", message: "no docker, containerd or podman was found on this host" }];
}

async function inspect(
  engine: Engine,
  settings: EngineSettings,
  context: { defaultRegistry: string | undefined },
): Promise<Check[]> {
  const { name } = engine;
  try {
    return (await engine.inspect(settings, context)).map((finding) => ({ name, ...finding }));
  } catch (error) {
    if (!(error instanceof EditError || error instanceof ConfigError)) throw error;
    return [{ name, status: error instanceof EditError ? "fail" : "warn", message: error.message }];
  }
}

async function isThere({ traces }: Engine, root: string): Promise<boolean> {
  const found = await Promise.all(
    traces.map((path) =>
      stat(join(root, path)).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.includes(true);
}
