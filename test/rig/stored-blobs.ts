/**
 * @module What a part has on its disk.
 */
import { readdir } from "node:fs/promises";
import type { EagleApp } from "./eagle.ts";
import { hexOf } from "./engines/engine.ts";
import { sumOf } from "./metrics-text.ts";

/** Names of the blobs that a seeder or proxy has committed: `<id>.layer` (DESIGN.md 5, Storage). */
export async function committedFiles({ directory, name }: EagleApp): Promise<string[]> {
  if (directory === undefined) throw new Error(`${name} stores nothing`);
  return (await readdir(`${directory}/data`)).filter((file) => file.endsWith(".layer")).sort();
}

/** Whether a part has committed a blob, to the last sync. @param digest `sha256:<hex>` */
export async function isCommitted(part: EagleApp, digest: string): Promise<boolean> {
  return (await committedFiles(part)).includes(`${hexOf(digest)}.layer`) && (await nothingArrives(part));
}

/**
 * Whether no blob is arriving at a part. One whose file has its name already still arrives while that name is made
 * durable: until then the part gives it out of its hands, whatever becomes of the file.
 */
export async function nothingArrives(part: Pick<EagleApp, "metrics">): Promise<boolean> {
  return sumOf(await part.metrics(), "eagle_active_downloads") === 0;
}
