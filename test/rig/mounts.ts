/**
 * @module Mounts that an engine left behind: a directory with one in it cannot be removed.
 */
import { readFile } from "node:fs/promises";
import type { Processes } from "./processes.ts";

/** Unmounts everything at and below a directory, the deepest first. Does nothing where there is no `/proc`. */
export async function unmountBelow(directory: string, processes: Processes): Promise<void> {
  const table = await readFile("/proc/self/mountinfo", "utf8").catch(() => "");
  const points = table
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((point) => point === directory || point.startsWith(`${directory}/`));
  for (const point of points.sort().reverse()) await processes.run("umount", ["--lazy", point]);
}
