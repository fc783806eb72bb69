/**
 * @module
 * A lock file that keeps two processes off one directory.
 *
 * It names its owner by process id and, on Linux, by the start time of that process and the boot of the machine, so
 * that a reused process id or a reboot does not look like a living owner. A dead owner's lock is taken over. A lock
 * written in another PID namespace (an earlier container) counts as dead, since its owner cannot be looked up from
 * here: do not share one directory between containers that run at the same time.
 */

import { createHash, randomUUID } from "node:crypto";
import { link, readdir, readFile, readlink, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { diskTrouble, withReason } from "./disk-trouble.ts";
import { StorageError } from "./storage.ts";

/** A lock that is held. */
export interface Lock {
  /** Gives the lock up; further calls do nothing. */
  release(): Promise<void>;
}

interface Owner {
  readonly pid: number;
  /** Clock ticks between boot and the start of the process; empty where unknown. */
  readonly start: string;
  /** Boot and PID namespace; empty where unknown. */
  readonly boot: string;
  /** Makes each lock unlike any other, also within one process. */
  readonly nonce: string;
}

/** A lock that keeps changing hands while we try is somebody else's. */
const attempts = 5;
/** No draft is written for so long, ms. */
const draftMs = 60_000;

/**
 * Takes the lock at `path`.
 *
 * @throws StorageError "locked" when a living process has it (this one included), "io" when the directory refuses
 */
export async function acquireLock(path: string): Promise<Lock> {
  const mine: Owner = {
    pid: process.pid,
    start: (await startOf("self")) ?? "",
    boot: await boot(),
    nonce: randomUUID(),
  };
  const text = JSON.stringify(mine);
  const draft = `${path}.${mine.nonce}`;
  try {
    await writeFile(draft, text, { flag: "wx" });
    for (let attempt = 0; attempt < attempts; attempt++) {
      // A link appears whole or not at all: nobody ever reads a half-written lock.
      if (await tryLink(draft, path)) return await take(path, mine, text);
      const found = await read(path);
      if (found === undefined) continue;
      const owner = parse(found);
      if (owner && (await isAlive(owner, mine.boot))) {
        throw new StorageError(
          "locked",
          `process ${owner.pid} works on this directory (lock file ${path}); stop it first`,
        );
      }
      if (await takeOver(path, found, draft, mine.boot)) return await take(path, mine, text);
    }
    throw new StorageError("locked", `another process took the lock file ${path}`);
  } catch (cause) {
    if (cause instanceof StorageError) throw cause;
    const advice = diskTrouble(cause)?.advice;
    const about = withReason(`cannot write the lock file ${path}`, cause);
    throw new StorageError("io", advice ? `${about}; ${advice}` : about, { cause });
  } finally {
    // A read-only disk refuses this too, and the draft was never there.
    await rm(draft, { force: true }).catch(() => {});
  }
}

async function take(path: string, mine: Owner, text: string): Promise<Lock> {
  // What is left costs a few bytes; the lock is held whether it can be swept or not.
  await sweep(path, mine).catch(() => {});
  return held(path, text);
}

/** Removes the drafts and claims of processes that died while they made them. */
async function sweep(path: string, mine: Owner): Promise<void> {
  for (const name of await readdir(dirname(path))) {
    const file = join(dirname(path), name);
    if (!file.startsWith(`${path}.`) || name.endsWith(mine.nonce)) continue;
    const maker = parse((await read(file)) ?? "");
    // Half-written: by the dead, or this very moment.
    const isOld = async () => (await stat(file)).mtimeMs < Date.now() - draftMs;
    if (maker ? !(await isAlive(maker, mine.boot)) : await isOld()) await rm(file, { force: true });
  }
}

function held(path: string, text: string): Lock {
  let released = false;
  return {
    async release() {
      if (released) return;
      released = true;
      if ((await read(path)) === text) await rm(path, { force: true });
    },
  };
}

/** The living process that has the lock at `path`; undefined when there is none, or the lock cannot be read. */
export async function ownerOf(path: string): Promise<number | undefined> {
  const owner = parse((await read(path).catch(() => undefined)) ?? "");
  return owner && (await isAlive(owner, await boot())) ? owner.pid : undefined;
}

/**
 * Puts the draft in the place of a dead owner's lock. Whoever wants that must first hold a claim named after the very
 * content that is replaced: so of many takers one wins, and a slow one cannot remove the winner's new lock.
 */
async function takeOver(path: string, stale: string, draft: string, here: string): Promise<boolean> {
  const claim = `${path}.${createHash("sha256").update(stale).digest("hex").slice(0, 32)}`;
  if (!(await tryLink(draft, claim))) {
    // A taker that died with its claim must not stand in the way for ever.
    const claimant = parse((await read(claim)) ?? "");
    if (!claimant || !(await isAlive(claimant, here))) await rm(claim, { force: true });
    return false;
  }
  try {
    if ((await read(path)) !== stale) return false;
    await rename(draft, path);
    return true;
  } finally {
    await rm(claim, { force: true });
  }
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function parse(text: string): Owner | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return undefined;
    const { pid, start, boot, nonce } = value as Partial<Record<keyof Owner, unknown>>;
    if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid <= 0) return undefined;
    return { pid, start: String(start ?? ""), boot: String(boot ?? ""), nonce: String(nonce ?? "") };
  } catch {
    return undefined;
  }
}

async function isAlive(owner: Owner, here: string): Promise<boolean> {
  if (owner.boot !== here) return false;
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    // EPERM: it lives, as another user's.
    if (codeOf(error) !== "EPERM") return false;
  }
  const start = await startOf(owner.pid);
  return start === undefined || owner.start === "" || start === owner.start;
}

/** Start time of a process, "dead" for one that only waits to be reaped, undefined where it cannot be told. */
async function startOf(pid: number | "self"): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    // The name, in brackets, may hold anything; the state is the first field after it, the start time the twentieth.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? "dead" : fields[19];
  } catch {
    return undefined;
  }
}

async function boot(): Promise<string> {
  try {
    const id = await readFile("/proc/sys/kernel/random/boot_id", "utf8");
    return `${id.trim()} ${await readlink("/proc/self/ns/pid")}`;
  } catch {
    return "";
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
