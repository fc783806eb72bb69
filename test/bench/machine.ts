/**
 * @module The machine that figures were measured on.
 */
import { execFileSync } from "node:child_process";
import { cpus, loadavg, release, totalmem } from "node:os";
import { type Runtime, repositoryRoot } from "../rig/eagle.ts";

/** Some lines: processor, memory, kernel, versions, what else is running. */
export function describeMachine(runtime: Runtime, tools: readonly string[] = []): string {
  const all = cpus();
  const versions = [runtimeVersion(runtime), ...tools.map(versionOf)].filter((version) => version !== "");
  return [
    `machine   ${all.length} x ${all[0]?.model.trim() ?? "unknown processor"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`,
    `versions  ${versions.join(", ")}`,
    `load      ${loadavg()[0]!.toFixed(2)} at the start (other work on the machine spoils figures)`,
  ].join("\n");
}

function runtimeVersion(runtime: Runtime): string {
  if (runtime === "node") return `node ${process.versions.node}`;
  return firstVersion("deno", `${repositoryRoot}node_modules/.bin/deno`, ["--version"]);
}

function versionOf(tool: string): string {
  const words: Record<string, string[]> = {
    nginx: ["-v"],
    libtorrent: ["-c", "import libtorrent; print(libtorrent.__version__)"],
  };
  return firstVersion(tool, tool === "libtorrent" ? "/usr/bin/python3" : tool, words[tool] ?? ["--version"]);
}

function firstVersion(name: string, command: string, words: string[]): string {
  try {
    const text = execFileSync("sh", ["-c", '"$0" "$@" 2>&1', command, ...words], { encoding: "utf8" });
    return `${name} ${/\d+(\.\d+)+/.exec(text)?.[0] ?? "?"}`;
  } catch {
    return "";
  }
}
