/**
 * @module What a part has on its disk.
 */
import { readdir } from "node:fs/promises";
import type { EagleApp } from "./eagle.ts";

/** Names of the blobs that a seeder or proxy has committed: `<id>.layer` (DESIGN.md 5, Storage). */
export async function committedFiles({ directory, name }: EagleApp): Promise<string[]> {
  if (directory === undefined) throw new Error(`${name} stores nothing`);
  return (await readdir(`${directory}/data`)).filter((file) => file.endsWith(".layer")).sort();
}
