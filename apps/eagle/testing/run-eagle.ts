/**
 * Runs the `eagle` command as a process, under the runtime that runs the tests: for tests alone.
 * @module
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../main.ts", import.meta.url));

/** How it ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process that runs. */
export interface Running extends AsyncDisposable {
  signal(name: NodeJS.Signals): void;
  readonly ended: Promise<Ended>;
  /** Resolves with stdout so far when it matches. @throws Error when the process ends before */
  said(pattern: RegExp): Promise<string>;
}

/** Starts it. Disposing of it kills it. */
export function startEagle(args: readonly string[], { env = {} }: { env?: Record<string, string> } = {}): Running {
  const runtime = process.versions.deno === undefined ? [] : ["run", "--allow-all", "--no-check", "--quiet"];
  const child = spawn(process.execPath, [...runtime, MAIN, ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  const heard = new EventTarget();
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    heard.dispatchEvent(new Event("text"));
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const ended = once(child, "close").then(([code]): Ended => ({ code: code as number | null, stdout, stderr }));
  return {
    // Not child.kill(): after it Deno tells no exit code.
    signal: (name) => process.kill(child.pid!, name),
    ended,
    async said(pattern) {
      const found = new Promise<void>((resolve) => {
        const look = () => {
          if (pattern.test(stdout)) resolve();
        };
        heard.addEventListener("text", look);
        look();
      });
      const gone = ended.then(({ code }) => {
        if (!pattern.test(stdout)) throw new Error(`ended with ${code} before it said ${pattern}:\n${stdout}${stderr}`);
      });
      await Promise.race([found, gone]);
      return stdout;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Runs it to its end. */
export async function eagle(args: readonly string[], options?: { env?: Record<string, string> }): Promise<Ended> {
  await using running = startEagle(args, options);
  return await running.ended;
}
