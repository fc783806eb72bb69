/**
 * @module What the parts of `npm run bench` share: the blob at a real registry, and Eagle's parts on loopback.
 */
import { createReadStream } from "node:fs";
import { type EagleApp, type Runtime, startProxy, startSeeder, startTracker } from "../../rig/eagle.ts";
import { pushBlob } from "../../rig/image.ts";
import type { Process } from "../../rig/processes.ts";
import { type Registry, startRegistry } from "../../rig/registry.ts";
import type { Rig } from "../../rig/rig.ts";
import type { Ballast } from "../ballast.ts";
import { type BlobFile, makeBlobFile } from "../blob-files.ts";
import { cpuSeconds } from "../usage.ts";

/** A blob, at a registry and as a file. */
export interface Bench {
  rig: Rig;
  blob: BlobFile;
  registry: Registry;
  runtime: Runtime;
  /** Times that each figure is measured. */
  runs: number;
  /** For the files that are written while something is measured; see its module. */
  ballast: Ballast;
}

/** One tracker, one seeder, one proxy, all fresh. */
export interface Parts {
  tracker: EagleApp;
  seeder: EagleApp;
  proxy: EagleApp;
}

const repository = "bench/blob";

/** Starts docker-registry and pushes the blob. */
export async function prepare(
  rig: Rig,
  { size, runtime, runs }: { size: number; runtime: Runtime; runs: number },
): Promise<Omit<Bench, "ballast">> {
  const registry = await startRegistry(rig);
  const blob = await pushNew({ rig, registry }, { size, seed: "bench" });
  return { rig, blob, registry, runtime, runs };
}

/** Makes a blob and pushes it. */
export async function pushNew(
  { rig, registry }: Pick<Bench, "rig" | "registry">,
  spec: { size: number; seed: string },
): Promise<BlobFile> {
  const blob = makeBlobFile(rig.dir, spec);
  await pushBlob({ registry: registry.url, repository }, createReadStream(blob.path, { highWaterMark: 1024 * 1024 }));
  return blob;
}

/** URL of the blob at a registry or at a proxy. */
export function blobUrl({ blob }: Pick<Bench, "blob">, base: URL): string {
  return new URL(`/v2/${repository}/blobs/${blob.digest}`, base).href;
}

/** Starts fresh parts. @param name - makes their names and directories differ from others'. */
export async function startParts(bench: Bench, name: string): Promise<Parts> {
  const { rig, registry, runtime } = bench;
  const tracker = await startTracker(rig, { name: `tracker-${name}`, runtime });
  const common = { trackers: [tracker.url], origin: registry.url.host, runtime };
  const seeder = await startSeeder(rig, { ...common, name: `seeder-${name}` });
  const proxy = await startBenchProxy(bench, { tracker, seeder }, `proxy-${name}`);
  return { tracker, seeder, proxy };
}

/** Starts one more proxy. */
export async function startBenchProxy(
  { rig, registry, runtime }: Bench,
  { tracker, seeder }: Pick<Parts, "tracker" | "seeder">,
  name: string,
): Promise<EagleApp> {
  const common = { trackers: [tracker.url], origin: registry.url.host, runtime };
  return startProxy(rig, { ...common, name, seeders: [seeder.url] });
}

/** Ends parts and waits for that. */
export async function stopParts({ tracker, seeder, proxy }: Parts): Promise<void> {
  await Promise.all([proxy.stop(), seeder.stop()]);
  await tracker.stop();
}

/** CPU seconds that each of some processes used since now. */
export function watchProcesses<T extends string>(processes: Record<T, Process>): () => Record<T, number> {
  const entries = Object.entries(processes) as [T, Process][];
  const before = entries.map(([, process]) => cpuSeconds(process));
  return () =>
    Object.fromEntries(entries.map(([name, process], index) => [name, cpuSeconds(process) - before[index]!])) as Record<
      T,
      number
    >;
}
