/**
 * @module Hosts in network namespaces, each with a shaped line to one bridge; what went over the lines is read at the
 * network devices. TypeScript over netns.sh; delay and loss by netns-delay.c. Root and Linux only.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Process, StartOptions } from "./processes.ts";
import type { Rig } from "./rig.ts";

const script = fileURLToPath(new URL("netns.sh", import.meta.url));
const delaySource = fileURLToPath(new URL("netns-delay.c", import.meta.url));

/** Name of a host: `origin`, `seed`, `h1`, `h2`, ... */
export type HostName = "origin" | "seed" | `h${number}`;

/** How the hosts are connected. Rates in Mbit/s, both ways. */
export interface NetOptions {
  /** Number of `h` hosts, up to 200. */
  hosts: number;
  rate: number;
  /** @default rate */
  originRate?: number;
  /** @default rate */
  seedRate?: number;
  /** One way, between any two hosts, ms. @default 0 */
  delayMs?: number;
  /** Share of packets lost on arrival, 0 to 1. @default 0 */
  loss?: number;
}

/**
 * Ethernet (14), IPv4 (20) and TCP with timestamps (32): bytes of each packet that are not TCP payload. The devices
 * count a GSO packet as one, with one header, so that bytes less this for each packet is the payload whatever the
 * packets' size. SYN and SACK options are a few bytes longer; that error is below 0.05 %.
 */
const framing = 66;

/** Payload that went through a host's device since it was made, bytes. */
export interface Traffic {
  sent: number;
  received: number;
}

/** Network namespaces of one run. The rig they were made with removes them; so does the end of the process. */
export class Net {
  readonly options: NetOptions;
  readonly #rig: Rig;
  readonly #prefix: string;
  readonly #remove: () => void;
  readonly #children = new Set<Process>();
  /** Lives in the bridge's namespace, where every cable's other end can be read. */
  #watcher: Process | undefined;
  #closed = false;

  private constructor(rig: Rig, prefix: string, options: NetOptions) {
    this.options = options;
    this.#rig = rig;
    this.#prefix = prefix;
    this.#remove = () => {
      if (!this.#closed) this.#run("down");
    };
    process.on("exit", this.#remove);
  }

  /**
   * Makes the hosts. Namespaces that a killed run left behind are removed first.
   * @throws Error with what `ip` and `tc` said when that fails: no root, no iproute2.
   */
  static async create(rig: Rig, options: NetOptions): Promise<Net> {
    sweep();
    const net = new Net(rig, `eb${process.pid}`, options);
    rig.use(net);
    const { hosts, rate, originRate = rate, seedRate = rate } = options;
    net.#run("down");
    net.#run("up", hosts, rate, originRate, seedRate);
    net.#watcher = net.#start("br", "sh", ["-c", "echo ready; exec sleep infinity"], {});
    await net.#watcher.line(/ready/);
    if (options.delayMs || options.loss) await net.#delay(options.delayMs ?? 0, options.loss ?? 0);
    return net;
  }

  /** The `h` hosts. */
  get hosts(): HostName[] {
    return Array.from({ length: this.options.hosts }, (_, index): HostName => `h${index + 1}`);
  }

  /** Its IPv4 address. */
  address(host: HostName): string {
    if (host === "origin") return "10.77.0.1";
    if (host === "seed") return "10.77.0.2";
    return `10.77.0.${10 + Number(host.slice(1))}`;
  }

  /** Starts a command on a host. */
  start(host: HostName, command: string, args: readonly string[], options: StartOptions = {}): Process {
    return this.#start(host, command, args, options);
  }

  /** Runs a command on a host to its end. @returns its output. @throws Error when it fails. */
  async run(host: HostName, command: string, args: readonly string[]): Promise<string> {
    const child = this.start(host, command, args);
    const { code, signal } = await child.exited;
    if (code !== 0) throw new Error(`${child.name} ended with ${signal ?? code}: ${child.output.slice(-2000)}`);
    return child.output;
  }

  /** Gives one host another line, Mbit/s both ways. */
  shape(host: HostName, rate: number): void {
    this.#run("shape", host, rate);
  }

  /** Runs something while what arrives at these hosts is neither delayed nor lost. */
  async undelayed(hosts: readonly HostName[], run: () => Promise<void>): Promise<void> {
    const { delayMs, loss } = this.options;
    const queued = delayMs || loss ? hosts : [];
    for (const host of queued) this.#run("unqueue", host);
    try {
      await run();
    } finally {
      for (const host of queued) this.#run("queue", host);
    }
  }

  /** Pulls a host's cable: connections die in silence. */
  unplug(host: HostName): void {
    this.#run("link", host, "down");
  }

  /** What all hosts' cables have carried, framing taken out. */
  traffic(): Map<HostName, Traffic> {
    const lines = readFileSync(`/proc/${this.#watcher?.pid}/net/dev`, "utf8").split("\n");
    const found = lines.flatMap((line): [HostName, Traffic][] => {
      const match = /^\s*p-(\w+):\s*(.*)$/.exec(line);
      if (match === null) return [];
      // This end of the cable receives what the host sends.
      const [sent, sentPackets, , , , , , , received, receivedPackets] = match[2]!.trim().split(/\s+/).map(Number);
      const traffic = { sent: sent! - framing * sentPackets!, received: received! - framing * receivedPackets! };
      return [[match[1] as HostName, traffic]];
    });
    return new Map(found);
  }

  /** Ends what runs in the namespaces and removes them. */
  async close(): Promise<void> {
    if (this.#closed) return;
    await Promise.all([...this.#children].map((child) => child.kill()));
    this.#run("down");
    this.#closed = true;
    process.off("exit", this.#remove);
  }

  #start(host: HostName | "br", command: string, args: readonly string[], options: StartOptions): Process {
    const words = ["netns", "exec", `${this.#prefix}-${host}`, command, ...args];
    const name = `${command.split("/").at(-1)} on ${host}`;
    const child = this.#rig.processes.start("ip", words, { name, ...options });
    this.#children.add(child);
    child.exited.then(() => this.#children.delete(child));
    return child;
  }

  async #delay(delayMs: number, loss: number): Promise<void> {
    const binary = this.#rig.path("netns-delay");
    await this.#rig.processes.run("gcc", ["-O2", delaySource, "-o", binary, "-lnetfilter_queue"]);
    for (const [index, host] of ["origin" as const, "seed" as const, ...this.hosts].entries()) {
      const words = [delayMs * 1000, Math.round(loss * 1e6), index + 1].map(String);
      await this.start(host, binary, words).line(/ready/);
      this.#run("queue", host);
    }
  }

  #run(...words: (string | number)[]): void {
    const env = { ...process.env, P: this.#prefix };
    try {
      execFileSync(script, words.map(String), { env, stdio: ["ignore", "ignore", "pipe"] });
    } catch (cause) {
      const said = (cause as { stderr?: Buffer }).stderr?.toString().trim();
      throw new Error(`netns.sh ${words.join(" ")}: ${said ?? (cause as Error).message}`, { cause });
    }
  }
}

/** Removes the namespaces of runs whose process is gone. */
function sweep(): void {
  const prefixes = new Map(
    namespaces().flatMap((name) => {
      const match = /^(eb(\d+))-/.exec(name);
      return match === null ? [] : [[match[1]!, Number(match[2])] as const];
    }),
  );
  for (const [prefix, pid] of prefixes) {
    if (!isAlive(pid)) execFileSync(script, ["down"], { env: { ...process.env, P: prefix }, stdio: "ignore" });
  }
}

function namespaces(): string[] {
  try {
    return readdirSync("/run/netns");
  } catch {
    return [];
  }
}

/** Whether a process with this id exists. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
