/**
 * @module What processes and the machine used, as Linux counts it.
 */
import { readFileSync } from "node:fs";
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
