/**
 * @module curl to its end, with its time and the CPU time it took.
 */
import type { Processes } from "../rig/processes.ts";

/** What one curl told. */
export interface TimedCurl {
  /** Seconds, start of curl to the last byte. */
  seconds: number;
  /** Seconds to the first byte of the body. */
  firstByte: number;
  /** Bytes. */
  size: number;
  /** User and system, seconds. */
  cpu: number;
}

const script = `curl -q --noproxy '*' -sS -f -w 'got %{time_total} %{time_starttransfer} %{size_download}\\n' "$@"; code=$?
times; exit $code`;

/** Runs curl. @param words - its arguments: the output, headers, the URL. @throws Error when it fails. */
export async function timedCurl(processes: Processes, words: readonly string[]): Promise<TimedCurl> {
  const output = await processes.run("sh", ["-c", script, "curl", ...words], { name: "curl", timeoutMs: 600_000 });
  const [seconds = 0, firstByte = 0, size = 0] = /^got (\S+) (\S+) (\S+)$/m.exec(output)?.slice(1).map(Number) ?? [];
  return { seconds, firstByte, size, cpu: childTimes(output) };
}

/** Reads the last line of the shell's `times`, such as `0m0.50s 0m0.40s`: user and system time of the children, seconds. */
export function childTimes(output: string): number {
  const last = output.trim().split("\n").at(-1) ?? "";
  return [...last.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, rest]) => sum + Number(minutes) * 60 + Number(rest),
    0,
  );
}
