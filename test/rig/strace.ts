/**
 * @module System calls of a running part, watched or made to fail by strace(1). A call that is made to fail is not
 * carried out: the part sees what a broken disk would show it, and sees it no more once the fault has ended.
 */
import { readFile } from "node:fs/promises";
import type { Process } from "./processes.ts";
import type { Rig } from "./rig.ts";
import { until } from "./until.ts";

/** Groups of calls by what they do; `?` lets those pass that the machine does not have. */
const calls = {
  open: ["?open", "openat", "?openat2"],
  read: ["read", "pread64", "?preadv", "?preadv2"],
  write: ["write", "pwrite64", "?pwritev", "?pwritev2"],
  truncate: ["ftruncate"],
  sync: ["fsync", "fdatasync"],
  rename: ["?rename", "renameat", "?renameat2"],
  unlink: ["?unlink", "unlinkat"],
} as const;

/** What a part asks of the system. */
export type CallKind = keyof typeof calls;

/** What a call is told. */
export type Errno = "ENOSPC" | "EDQUOT" | "EIO" | "EROFS" | "EMFILE" | "ENFILE" | "EACCES";

/** Which calls fail, and how. */
export interface BrokenCalls {
  readonly calls: readonly CallKind[];
  readonly error: Errno;
  /** Calls on these paths alone, by name or by descriptor. They need not exist yet. @default all paths */
  readonly paths?: readonly string[];
}

/** A fault in force until `end`. */
export interface BrokenSystem {
  /** Calls that failed by it so far. */
  hits(): Promise<number>;
  /** Heals the process. */
  end(): Promise<void>;
}

/** Makes calls of a process fail. The rig ends it. Needs the tool `strace`. */
export async function breakCalls(rig: Rig, target: Process, broken: BrokenCalls): Promise<BrokenSystem> {
  const names = broken.calls.flatMap((kind) => calls[kind]);
  const filter = (broken.paths ?? []).flatMap((path) => ["-P", path]);
  const inject = names.flatMap((name) => ["-e", `inject=${name}:error=${broken.error}`]);
  const output = rig.path(`strace-${target.pid}-${serial++}`);
  const strace = await attach(rig, target, ["-e", `trace=${names.join(",")}`, ...filter, ...inject], output);
  return {
    hits: async () => (await readFile(output, "utf8")).split("(INJECTED)").length - 1,
    end: async () => void (await strace.stop()),
  };
}

/** Kills a process (-9) as it is about to make such a call on such a path. Resolves when it is dead. */
export async function killAtCall(
  rig: Rig,
  target: Process,
  { calls: kinds, paths }: Pick<BrokenCalls, "calls" | "paths">,
): Promise<{ readonly dead: Promise<unknown>; end(): Promise<void> }> {
  const names = kinds.flatMap((kind) => calls[kind]);
  const filter = (paths ?? []).flatMap((path) => ["-P", path]);
  const inject = names.flatMap((name) => ["-e", `inject=${name}:signal=SIGKILL`]);
  const output = rig.path(`strace-${target.pid}-${serial++}`);
  const strace = await attach(rig, target, ["-e", `trace=${names.join(",")}`, ...filter, ...inject], output);
  return { dead: target.exited, end: async () => void (await strace.stop()) };
}

/** One call, as it was seen. */
export interface SystemCall {
  readonly name: string;
  /** Its arguments, descriptors with their paths: `21</tmp/x>`. */
  readonly args: string;
  readonly result: string;
  /** Its place in the order of all beginnings and ends. */
  readonly began: number;
  readonly ended: number;
}

/** Watches calls of a process until `end`, which gives them in the order of their beginnings. */
export async function watchCalls(
  rig: Rig,
  target: Process,
  kinds: readonly CallKind[],
): Promise<{ end(): Promise<SystemCall[]> }> {
  const names = kinds.flatMap((kind) => calls[kind]);
  const output = rig.path(`strace-${target.pid}-${serial++}`);
  const strace = await attach(rig, target, ["-y", "-s", "0", "-e", `trace=${names.join(",")}`], output);
  return {
    async end() {
      await strace.stop();
      return parseCalls(await readFile(output, "utf8"));
    },
  };
}

let serial = 0;

async function attach(rig: Rig, target: Process, args: readonly string[], output: string): Promise<Process> {
  const strace = rig.processes.start("strace", ["-f", "-p", String(target.pid), "-o", output, ...args]);
  await strace.line(/attached/);
  // It says so before the last thread is held.
  await until(async () => strace.status === undefined && (await isTraced(target.pid)), {
    what: `strace to hold ${target.name}`,
  });
  return strace;
}

async function isTraced(pid: number): Promise<boolean> {
  return !/^TracerPid:\s+0$/m.test(await readFile(`/proc/${pid}/status`, "utf8"));
}

/** Puts calls that another thread's call interrupted together again. */
export function parseCalls(text: string): SystemCall[] {
  const done: SystemCall[] = [];
  const open = new Map<string, { name: string; args: string; began: number }>();
  for (const [index, line] of text.split("\n").entries()) {
    const thread = /^(\d+) +/.exec(line)?.[1] ?? "";
    const rest = line.slice(line.indexOf(" ")).trim();
    const unfinished = /^(\w+)\((.*) <unfinished \.\.\.>$/.exec(rest);
    const resumed = /^<\.\.\. (\w+) resumed>(.*)\) += (.*)$/.exec(rest);
    const whole = /^(\w+)\((.*)\) += (.*)$/.exec(rest);
    if (unfinished) open.set(thread, { name: unfinished[1]!, args: unfinished[2]!, began: index });
    else if (resumed) {
      const beginning = open.get(thread);
      open.delete(thread);
      if (beginning) done.push({ ...beginning, args: beginning.args + resumed[2]!, result: resumed[3]!, ended: index });
    } else if (whole) done.push({ name: whole[1]!, args: whole[2]!, result: whole[3]!, began: index, ended: index });
  }
  return done.sort((a, b) => a.began - b.began);
}
