/**
 * @module Memory that files in a tmpfs get cheaply. On a virtual machine a page that is touched for the first time may cost
 * ten times as much as one that was used before, and the hypervisor takes back what is free for a few seconds: whoever
 * writes files is charged for that. A ballast holds memory that was touched, and gives way as files grow.
 */
import { randomBytes } from "node:crypto";
import { closeSync, ftruncateSync, openSync, statfsSync, statSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";

/** `f_type` of a tmpfs (statfs(2)). */
const tmpfs = 0x01021994;
/** Of what is available, the most that a ballast takes: the processes need memory too. */
const mostOfAvailable = 0.6;
/** How often it looks whether files have grown, ms. A look costs a third of a millisecond, most of it for waking up. */
const lookMs = 50;
/** Free beyond the files at each look, bytes: more than they grow until the next. Not much more: it is taken back. */
const ahead = 64 * 1024 * 1024;
/** Written at once, bytes. */
const step = 1024 * 1024;
/** Steps without a turn of the event loop. */
const stepsInTurn = 16;

/**
 * A file without a name in a tmpfs, so that it goes with this process however that ends. Elsewhere it stays empty.
 * Who opens it closes it.
 */
export class Ballast implements AsyncDisposable {
  readonly #directory: string;
  readonly #device: number;
  /** Undefined where files are not in memory, and when closed. */
  #file: number | undefined;
  #size = 0;
  /** What the tmpfs may hold before the ballast gives way, its own bytes included. */
  #level = 0;
  #timer: NodeJS.Timeout | undefined;

  private constructor(directory: string) {
    this.#directory = directory;
    this.#device = statSync(directory).dev;
    if (statfsSync(directory).type !== tmpfs) return;
    const path = join(directory, `eagle-bench-${process.pid}-ballast`);
    this.#file = openSync(path, "wx");
    unlinkSync(path);
  }

  /** Opens an empty one. @param directory - where the files will be, or a directory above it. */
  static open(directory: string): Ballast {
    return new Ballast(directory);
  }

  /** Bytes by which files in a directory may grow beyond what is free there, because the ballast gives way. */
  roomIn(directory: string): number {
    return this.#size > 0 && statSync(directory).dev === this.#device ? this.#size : 0;
  }

  /**
   * Grows to so many bytes, or as far as the machine allows; never shrinks. It costs CPU time: not while something is
   * measured. Files may take those bytes from then on.
   */
  async fill(bytes: number): Promise<void> {
    if (this.#file === undefined) return;
    this.#stop();
    const most = mostOfAvailable * (Math.min(process.availableMemory(), freeIn(this.#directory)) + this.#size);
    const chunk = randomBytes(step);
    for (let steps = 1; this.#size + step <= Math.min(bytes + ahead, most); steps++) {
      if (this.#file === undefined) return;
      try {
        this.#size += writeSync(this.#file, chunk, 0, step, this.#size);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        break;
      }
      if (steps % stepsInTurn === 0) await turn();
    }
    this.#level = usedIn(this.#directory) - ahead;
    this.#timer = setInterval(() => this.#look(), lookMs);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    this.#stop();
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
    this.#size = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #look(): void {
    const used = usedIn(this.#directory);
    if (used > this.#level) this.#giveWay(used - this.#level);
    // To files that come in place of others that were removed it gives way as to any: what is free may be gone by then.
    else this.#level = used;
  }

  #giveWay(bytes: number): void {
    if (this.#file === undefined) return;
    this.#size = Math.max(0, this.#size - bytes);
    ftruncateSync(this.#file, this.#size);
    if (this.#size === 0) this.#stop();
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

function freeIn(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}

function usedIn(directory: string): number {
  const { blocks, bfree, bsize } = statfsSync(directory);
  return (blocks - bfree) * bsize;
}
