/**
 * @module A curl that waits for a word, so that forks and program starts are over when the clock starts.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import type { HostName, Net } from "../../rig/netns.ts";
import { childTimes } from "../timed-curl.ts";

/** What curl told. Times in seconds since its start. */
export interface CurlFigures {
  size: number;
  firstByte: number;
  total: number;
  /** User and system, seconds. */
  cpu: number;
}

/** A curl at the gate. */
export interface GatedCurl {
  go(): void;
  done: Promise<CurlFigures>;
}

const script = `mkfifo "$1"; echo armed; read _ < "$1"
curl -q --noproxy '*' -sS -f -o "$2" -w 'got %{size_download} %{time_starttransfer} %{time_total}\\n' "$3"; code=$?
times; exit $code`;

/**
 * Starts it on a host.
 * @param init.gate - a path of its own for the gate's FIFO.
 * @param init.output - file that the body goes to.
 */
export async function armCurl(
  { net }: { net: Net },
  host: HostName,
  { url, gate, output }: { url: string; gate: string; output: string },
): Promise<GatedCurl> {
  const child = net.start(host, "sh", ["-c", script, "sh", gate, output, url], { name: `curl on ${host}` });
  await child.line(/armed/);
  const fifo = openSync(gate, "r+");
  const done = child.exited.then(({ code, signal }) => {
    closeSync(fifo);
    const got = /^got (\S+) (\S+) (\S+)$/m.exec(child.output)?.slice(1).map(Number);
    if (code !== 0 || got === undefined) throw new Error(`${child.name} ended with ${signal ?? code}: ${child.output}`);
    return { size: got[0]!, firstByte: got[1]!, total: got[2]!, cpu: childTimes(child.output) };
  });
  done.catch(() => {});
  return { go: () => void writeSync(fifo, "\n"), done };
}
