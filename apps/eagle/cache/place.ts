/**
 * Which cache a command is about: a root directory, given as such or by the configuration of the part that uses it.
 * @module
 */
import { join, resolve } from "node:path";
import { loadConfig, proxyConfigSchema, seederConfigSchema } from "../../../lib/config/index.ts";
import { readTextFile } from "../../../lib/config/text-file.ts";
import { maxYamlBytes, parseYaml } from "../../../lib/config/yaml.ts";
import { FsStorage } from "../../../lib/storage/index.ts";
import { ownerOf } from "../../../lib/storage/lock.ts";

/** A root directory, looked at from outside. */
export interface CachePlace {
  readonly rootDirectory: string;
  /** Nothing is locked: a process may be at work here. */
  readonly storage: FsStorage;
  /** Bytes, where the configuration is known. */
  readonly limitSize?: number;
  /** Id of the process that works on it, if any does. */
  readonly owner: number | undefined;
}

/**
 * @param from.config Path of a proxy's or a seeder's configuration file.
 * @throws ConfigError; StorageError when there is no such cache.
 */
export async function findCache(from: { root: string } | { config: string }): Promise<CachePlace> {
  const { rootDirectory, limitSize } = "root" in from ? { rootDirectory: from.root } : configured(from.config);
  const root = resolve(rootDirectory);
  return {
    rootDirectory: root,
    storage: await FsStorage.look({ rootDirectory: root }),
    owner: await ownerOf(join(root, "lock")),
    ...(limitSize === undefined ? {} : { limitSize }),
  };
}

function configured(file: string): { rootDirectory: string; limitSize: number } {
  if (isSeeders(file)) return loadConfig(seederConfigSchema, { app: "seeder", file }).seederCfg;
  return loadConfig(proxyConfigSchema, { app: "proxy", file }).clientCfg;
}

/** By its sections; what is wrong with the file is said when it is loaded. */
function isSeeders(file: string): boolean {
  try {
    const { value } = parseYaml(readTextFile(file, { limit: maxYamlBytes }).content);
    return typeof value === "object" && value !== null && ("seederCfg" in value || "daemonCfg" in value);
  } catch {
    return false;
  }
}
