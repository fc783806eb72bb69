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
  /** A seeder stores its blobs elsewhere: where, in words. Here are no more than copies of some. */
  readonly copiesOf?: string;
}

/**
 * @param from.config Path of a proxy's or a seeder's configuration file.
 * @throws ConfigError; StorageError when there is no such cache.
 */
export async function findCache(from: { root: string } | { config: string }): Promise<CachePlace> {
  const { rootDirectory, ...known }: Configured =
    "root" in from ? { rootDirectory: from.root } : configured(from.config);
  const root = resolve(rootDirectory);
  const storage = await FsStorage.look({ rootDirectory: root });
  const copiesOf = known.copiesOf ?? ("root" in from && (await holdsCopies(storage)) ? "another storage" : undefined);
  return {
    rootDirectory: root,
    storage,
    owner: await ownerOf(join(root, "lock")),
    ...known,
    ...(copiesOf === undefined ? {} : { copiesOf }),
  };
}

type Configured = Pick<CachePlace, "rootDirectory" | "limitSize" | "copiesOf">;

function configured(file: string): Configured {
  if (!isSeeders(file)) {
    const { rootDirectory, limitSize } = loadConfig(proxyConfigSchema, { app: "proxy", file }).clientCfg;
    return { rootDirectory, limitSize };
  }
  const { rootDirectory, limitSize, storageBackend, s3 } = loadConfig(seederConfigSchema, {
    app: "seeder",
    file,
  }).seederCfg;
  const elsewhere = { fs: undefined, s3: `bucket ${s3.bucket}`, memory: "the seeder's memory" }[storageBackend];
  return { rootDirectory, limitSize, ...(elsewhere === undefined ? {} : { copiesOf: elsewhere }) };
}

/** Blobs without any metainfo are a seeder's copies: the metainfo is where the blobs are stored. */
async function holdsCopies(storage: FsStorage): Promise<boolean> {
  for await (const _ of storage.listMetaInfo()) return false;
  for await (const _ of storage.list()) return true;
  return false;
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
