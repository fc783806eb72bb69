/**
 * @module Child processes of a test: their output is kept, they can be awaited, frozen and killed by pid, and none of
 * them outlives the test, however that ends.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { findTool } from "./tools.ts";
import { HopelessError, until } from "./until.ts";

/** How a child is started. */
export interface StartOptions {
  /** Short name for messages. @default the command */
  name?: string;
  cwd?: string;
  /** Added to the environment of the test, less the proxy variables. */
  env?: Record<string, string>;
  /** Output kept, in bytes; the oldest goes first. @default 4 MiB */
  keep?: number;
}

/** How a child ended. */
export interface ExitStatus {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** Variables that would send a child's requests elsewhere. */
const proxyVariables = /^(https?|all|no|ftp)_proxy$/i;

/** One child, the leader of its own process group. */
export class Process {
  readonly name: string;
  readonly pid: number;
  /** Resolves when the child is gone; never rejects. */
  readonly exited: Promise<ExitStatus>;
  #status: ExitStatus | undefined;
  #output = "";
  readonly #keep: number;

  constructor(child: ChildProcess, name: string, keep: number) {
    this.name = name;
    this.pid = child.pid ?? -1;
    this.#keep = keep;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => this.#append(text));
    }
    this.exited = new Promise((resolve) => {
      const end = (status: ExitStatus) => {
        this.#status = status;
        resolve(status);
      };
      child.once("error", (error) => {
        this.#append(`${error.message}\n`);
        end({ code: 127, signal: null });
      });
      child.once("close", (code, signal) => end({ code, signal }));
    });
  }

  /** How it ended, or undefined while it runs. */
  get status(): ExitStatus | undefined {
    return this.#status;
  }

  /** Standard output and standard error, mixed as they came. */
  get output(): string {
    return this.#output;
  }

  #append(text: string): void {
    this.#output += text;
    if (this.#output.length > this.#keep) this.#output = this.#output.slice(-this.#keep);
  }

  /**
   * Signals the child alone (`SIGSTOP` makes a mute server of it), not its group.
   * A child that is gone already is no error.
   */
  signal(signal: NodeJS.Signals): void {
    if (this.#status !== undefined) return;
    signalPid(this.pid, signal);
  }

  /** Kills the whole group without notice, and waits until the child is gone. */
  async kill(): Promise<ExitStatus> {
    if (this.#status === undefined) signalPid(-this.pid, "SIGKILL");
    return this.exited;
  }

  /** Asks the child to end by SIGTERM; after `graceMs` it is killed. */
  async stop({ graceMs = 10_000 }: { graceMs?: number } = {}): Promise<ExitStatus> {
    this.signal("SIGCONT");
    this.signal("SIGTERM");
    const timer = setTimeout(() => signalPid(-this.pid, "SIGKILL"), graceMs);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Waits for a line of output that matches. @throws Error when the child ends first or time is over. */
  async line(pattern: RegExp, { timeoutMs = 20_000 }: { timeoutMs?: number } = {}): Promise<string> {
    return until(
      () => {
        const found = this.#output.split("\n").find((line) => pattern.test(line));
        if (found === undefined) this.#mustRun(`saying ${pattern}`);
        return found;
      },
      { what: `${this.name} to say ${pattern}`, timeoutMs },
    ).catch((error) => this.#explain(error));
  }

  /** Waits until something accepts connections at the port. @throws Error when the child ends first or time is over. */
  async listening(port: number, { host = "127.0.0.1", timeoutMs = 20_000 } = {}): Promise<void> {
    await this.ready(() => canConnect(host, port), { what: `listening on ${host}:${port}`, timeoutMs });
  }

  /** Waits until `ask` says yes. @throws Error with the child's last output when it ends first or time is over. */
  async ready(ask: () => Promise<boolean>, { what = "ready", timeoutMs = 20_000 } = {}): Promise<void> {
    await until(
      async () => {
        this.#mustRun(`being ${what}`);
        return ask();
      },
      { what: `${this.name} to be ${what}`, timeoutMs },
    ).catch((error) => this.#explain(error));
  }

  /** Memory of the child alone, in bytes: resident now, of that its own and mapped files, and at its highest. Linux only. */
  memory(): { resident: number; anonymous: number; files: number; peak: number } {
    const text = readFileSync(`/proc/${this.pid}/status`, "utf8");
    const field = (name: string) =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? Number.NaN) * 1024;
    return { resident: field("VmRSS"), anonymous: field("RssAnon"), files: field("RssFile"), peak: field("VmHWM") };
  }

  #mustRun(what: string): void {
    if (this.#status === undefined) return;
    const { code, signal } = this.#status;
    throw new HopelessError(`${this.name} ended (${signal ?? code}) before ${what}`);
  }

  #explain(error: unknown): never {
    throw new Error(`${(error as Error).message}\n--- ${this.name} said last:\n${this.#output.slice(-3000)}`, {
      cause: error,
    });
  }
}

/**
 * The children of one test.
 * Whoever makes it closes it; should the test process end without that, its exit handler kills what runs, and on Linux
 * the kernel does so even after a SIGKILL.
 */
export class Processes implements AsyncDisposable {
  readonly #children = new Set<Process>();
  readonly #killAll = () => {
    for (const child of this.#children) if (child.status === undefined) signalPid(-child.pid, "SIGKILL");
  };
  readonly #onSignal = (signal: NodeJS.Signals) => {
    this.#killAll();
    process.exit(signal === "SIGINT" ? 130 : 143);
  };
  readonly #parentDeath = process.platform === "linux" ? findTool("setpriv") : undefined;

  constructor() {
    process.on("exit", this.#killAll);
    process.on("SIGTERM", this.#onSignal);
    process.on("SIGINT", this.#onSignal);
  }

  /** Starts a child. A command that does not exist shows as a child that ended with 127. */
  start(command: string, args: readonly string[], options: StartOptions = {}): Process {
    const { name = command.split("/").at(-1) ?? command, cwd, env = {}, keep = 4 * 1024 * 1024 } = options;
    const inherited = Object.entries(process.env).filter(([key]) => !proxyVariables.test(key));
    const file = findTool(command) ?? command;
    const guarded = this.#parentDeath
      ? { file: this.#parentDeath, args: ["--pdeathsig", "KILL", "--", file, ...args] }
      : { file, args: [...args] };
    const child = spawn(guarded.file, guarded.args, {
      cwd,
      env: { ...Object.fromEntries(inherited), ...env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    const started = new Process(child, name, keep);
    this.#children.add(started);
    started.exited.then(() => this.#children.delete(started));
    return started;
  }

  /**
   * Runs a command to its end.
   * @returns its output.
   * @throws Error with the last of its output when it fails or is still running after `timeoutMs` (it is killed then).
   */
  async run(
    command: string,
    args: readonly string[],
    { timeoutMs = 120_000, ...options }: StartOptions & { timeoutMs?: number } = {},
  ): Promise<string> {
    const child = this.start(command, args, options);
    const timer = setTimeout(() => signalPid(-child.pid, "SIGKILL"), timeoutMs);
    const { code, signal } = await child.exited;
    clearTimeout(timer);
    if (code === 0) return child.output;
    throw new Error(`${child.name} ${args.join(" ")} ended with ${signal ?? code}:\n${child.output.slice(-3000)}`);
  }

  /** Kills what still runs. */
  async close(): Promise<void> {
    await Promise.all([...this.#children].map((child) => child.kill()));
    process.off("exit", this.#killAll);
    process.off("SIGTERM", this.#onSignal);
    process.off("SIGINT", this.#onSignal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function signalPid(pid: number, signal: NodeJS.Signals): void {
  if (Math.abs(pid) <= 1) return;
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function canConnect(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
