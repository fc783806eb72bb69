/**
 * @module A disk of its own for one part: a small tmpfs in a mount namespace, which can be filled, made read-only and
 * healed while the part runs. Nothing of it is seen or left outside. Needs root and the tools `unshare`, `nsenter` and
 * `mount`.
 */
import { closeSync, fsyncSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Process } from "./processes.ts";
import type { Rig } from "./rig.ts";

/** The tools it needs. */
export const smallDiskTools: readonly string[] = ["unshare", "nsenter", "mount"];

/** Fills a disk in steps of this many bytes. */
const step = 64 * 1024;

/** See the module. The rig ends it. */
export class SmallDisk {
  /** Where those within see it. */
  readonly directory: string;
  readonly #rig: Rig;
  readonly #holder: Process;

  private constructor(rig: Rig, directory: string, holder: Process) {
    this.#rig = rig;
    this.directory = directory;
    this.#holder = holder;
  }

  /** Makes a disk of so many bytes at a directory that exists. */
  static async make(rig: Rig, { directory, bytes }: { directory: string; bytes: number }): Promise<SmallDisk> {
    const script = `mount -t tmpfs -o size=${bytes} tmpfs "$1" && echo mounted && exec sleep infinity`;
    const args = ["--mount", "--propagation", "private", "sh", "-c", script, "sh", directory];
    const holder = rig.processes.start("unshare", args, { name: "small-disk" });
    await holder.line(/^mounted$/);
    return new SmallDisk(rig, directory, holder);
  }

  /** The command that runs another one where the disk is seen. */
  get within(): readonly string[] {
    return ["nsenter", "--mount", "--target", String(this.#holder.pid), "--"];
  }

  /** A path on the disk as the test sees it. */
  path(...names: string[]): string {
    return join(`/proc/${this.#holder.pid}/root`, this.directory, ...names);
  }

  /** Bytes free. */
  get free(): number {
    const { bavail, bsize } = statfsSync(this.path());
    return bavail * bsize;
  }

  /** Takes all but so many bytes away, in whole pages of memory. */
  fill(leave = 0): void {
    const file = openSync(this.path("ballast"), "a");
    try {
      for (let rest = this.free - leave; rest > 0; rest = this.free - leave)
        writeSync(file, Buffer.alloc(Math.min(step, rest)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    } finally {
      fsyncSync(file);
      closeSync(file);
    }
  }

  /** Gives back what `fill` took. */
  relieve(): void {
    rmSync(this.path("ballast"), { force: true });
  }

  /** Mounts it anew for reading alone, or for both. Files that are open for writing forbid the first. */
  async remount(mode: "ro" | "rw"): Promise<void> {
    const [command, ...args] = [...this.within, "mount", "-o", `remount,${mode}`, this.directory];
    await this.#rig.processes.run(command!, args);
  }

  /** Names of the files in a directory of the disk. */
  async files(...names: string[]): Promise<string[]> {
    return (await readdir(this.path(...names))).sort();
  }
}
