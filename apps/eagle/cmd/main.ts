/**
 * Finds the subcommand, runs it, and turns its end into an exit code.
 * @module
 */
import { readFileSync } from "node:fs";
import { UsageError } from "../../../lib/cli/flags.ts";
import { ConfigError } from "../../../lib/config/index.ts";
import { nearest } from "../../../lib/config/nearest.ts";
import { COMMANDS } from "./commands.ts";
import { renderOverview } from "./overview.ts";

/**
 * Sets the process's exit code: 0, 1 for a failure, 2 for a command line that cannot be followed. A command that goes
 * on in the background (a service) ends the process itself, at a signal.
 */
export async function main(args: readonly string[]): Promise<void> {
  const [name = "", ...rest] = args;
  try {
    const code = await dispatch(name, rest);
    if (code !== undefined) process.exitCode = code;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const speaksForItself = error instanceof UsageError || error instanceof ConfigError;
    process.stderr.write(speaksForItself ? `${message}\n` : `eagle ${name}: ${message}\n`);
    process.exitCode = error instanceof UsageError ? error.exitCode : 1;
  }
}

async function dispatch(name: string, rest: readonly string[]): Promise<number | undefined> {
  if (name === "") {
    process.stderr.write(renderOverview(COMMANDS));
    return 2;
  }
  if (name === "--version" || name === "-V") {
    process.stdout.write(`eagle ${version()}\n`);
    return 0;
  }
  if (name === "--help" || name === "-h" || name === "help") {
    const [about] = rest;
    if (about !== undefined) return await dispatch(about, ["--help"]);
    process.stdout.write(renderOverview(COMMANDS));
    return 0;
  }
  const command = COMMANDS.find((each) => each.name === name);
  if (!command) {
    const near = nearest(
      name,
      COMMANDS.map((each) => each.name),
    );
    throw new UsageError(
      `eagle: no command ${JSON.stringify(name)}${near ? `. Did you mean ${near}?` : ""}\nTry: eagle --help`,
    );
  }
  const { run } = await command.load();
  return await run(rest);
}

function version(): string {
  const text = readFileSync(new URL("../../../package.json", import.meta.url), "utf8");
  return String((JSON.parse(text) as { version: unknown }).version);
}
