/**
 * @module What processes and the machine used, as Linux counts it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import type { Process } from "../rig/processes.ts";

/** Clock ticks a second in /proc; the same on every Linux that Node runs on. */
const ticks = 100;

/** CPU seconds of a process and its threads, user and system, since it began; 0 when it is gone. */
export function cpuSeconds({ pid }: Pick<Process, "pid">): number {
  const text = readOr(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields.length < 13 ? 0 : (Number(fields[11]) + Number(fields[12])) / ticks;
}

/** CPU seconds of several. */
export function cpuSecondsOf(processes: readonly Process[]): number {
  return processes.reduce((sum, process) => sum + cpuSeconds(process), 0);
}

/** Highest resident memory of the largest of them, bytes; 0 when all are gone. */
export function peakMemory(processes: readonly Process[]): number {
  return Math.max(
    0,
    ...processes.map(({ pid }) => Number(/^VmHWM:\s+(\d+) kB/m.exec(readOr(`/proc/${pid}/status`))?.[1] ?? 0) * 1024),
  );
}

/** A stop-watch for the CPU time that nobody used. @returns a function that gives the idle share since then, 0 to 1. */
export function watchIdle(): () => number {
  const before = machineTicks();
  return () => {
    const after = machineTicks();
    const total = after.total - before.total;
    return total === 0 ? 1 : (after.idle - before.idle) / total;
  };
}

function machineTicks(): { idle: number; total: number } {
  const fields = readOr("/proc/stat").split("\n")[0]!.trim().split(/\s+/).slice(1, 9).map(Number);
  return { idle: (fields[3] ?? 0) + (fields[4] ?? 0), total: fields.reduce((sum, field) => sum + field, 0) };
}

function readOr(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** A share of the machine used by others, above which figures are not to be trusted. */
export const disturbing = 0.1;

/**
 * A stop-watch for the CPU time of processes that this one did not start.
 * @returns a function that gives their share of the machine since then, 0 to 1. Those that began and ended in between are
 * missing from it.
 */
export function watchOthers(): () => number {
  const begun = performance.now();
  const before = othersTimes();
  return () => {
    const machine = ((performance.now() - begun) / 1000) * availableParallelism();
    let used = 0;
    for (const [pid, seconds] of othersTimes()) used += Math.max(0, seconds - (before.get(pid) ?? 0));
    return used / machine;
  };
}

/** Waits until others leave the machine alone for a second. @returns whether they did within `timeoutMs`. */
export async function untilQuiet({ timeoutMs }: { timeoutMs: number }): Promise<boolean> {
  for (const end = performance.now() + timeoutMs; performance.now() < end; ) {
    const others = watchOthers();
    await sleep(1000);
    if (others() < disturbing / 2) return true;
  }
  return false;
}

/** CPU seconds of each process that is no descendant of this one and no thread of the kernel. */
function othersTimes(): Map<number, number> {
  const parents = new Map<number, number>();
  const times = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const text = readOr(`/proc/${pid}/stat`);
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    if (fields.length < 13) continue;
    parents.set(pid, Number(fields[1]));
    times.set(pid, (Number(fields[11]) + Number(fields[12])) / ticks);
  }
  const isOurs = (pid: number): boolean => {
    for (let at: number | undefined = pid; at !== undefined && at > 0; at = parents.get(at)) {
      if (at === process.pid || at === 2) return true;
    }
    return false;
  };
  for (const pid of [...times.keys()]) if (isOurs(pid)) times.delete(pid);
  return times;
}
