/**
 * @module Where a benchmark keeps its files: a directory in memory where there is room, so that it measures the code and
 * not this machine's disk. It goes when the benchmark ends, also by ctrl-C; what a killed one left goes at the next start.
 */
import { mkdtempSync, readdirSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isAlive } from "../rig/netns.ts";
import { Rig } from "../rig/rig.ts";
import type { Ballast } from "./ballast.ts";

const prefix = "eagle-bench-";

/**
 * Makes a rig in a new directory.
 * @param needs - bytes it will hold at most.
 * @param parent - a directory to use whatever is in memory.
 * @param ballast - gives way to the files, and has their memory when they are removed.
 * @throws Error when no directory has that much room.
 */
export function createWorkspace({
  needs,
  parent,
  ballast,
}: {
  needs: number;
  parent?: string | undefined;
  ballast?: Ballast | undefined;
}): Rig {
  const candidates = parent === undefined ? ["/dev/shm", tmpdir()] : [parent];
  for (const candidate of candidates) sweep(candidate);
  const roomy = candidates.find((candidate) => freeIn(candidate) + (ballast?.roomIn(candidate) ?? 0) > needs * 1.2);
  if (roomy === undefined)
    throw new Error(`no room for ${Math.ceil(needs / 2 ** 20)} MiB in ${candidates.join(" or ")}`);
  const directory = mkdtempSync(join(roomy, `${prefix}${process.pid}-`));
  const remove = () => rmSync(directory, { recursive: true, force: true });
  process.on("exit", remove);
  const rig = new Workspace(directory, async () => ballast?.fill(needs));
  rig.use({
    close: async () => {
      process.off("exit", remove);
    },
  });
  return rig;
}

/** A rig that says when its files are gone. */
class Workspace extends Rig {
  readonly #removed: () => Promise<void>;

  constructor(directory: string, removed: () => Promise<void>) {
    super(directory);
    this.#removed = removed;
  }

  override async close(): Promise<void> {
    await super.close();
    await this.#removed();
  }
}

function sweep(parent: string): void {
  for (const name of namesIn(parent)) {
    const pid = new RegExp(`^${prefix}(\\d+)-`).exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(parent, name), { recursive: true, force: true });
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function freeIn(directory: string): number {
  try {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize;
  } catch {
    return 0;
  }
}
