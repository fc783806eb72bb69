/**
 * What all subcommands do first: read the command line, and answer `--help`.
 * @module
 */
import { type CommandSpec, type FlagSpec, type Parsed, parseFlags } from "../../../lib/cli/flags.ts";
import type { CommandModule } from "./commands.ts";

/** The command line of a subcommand, read. */
export type CommandLine<F extends Readonly<Record<string, FlagSpec>>> = Pick<Parsed<F>, "values" | "args">;

/**
 * Makes a subcommand's `run` of its description and its work.
 *
 * @param work.line Flags and arguments, checked against `spec`.
 * @returns see `CommandModule.run`; 0 after `--help`
 * @example
 * export const run = command(SPEC, async ({ values, args: [url] }) => { ...; return 0; });
 */
export function command<const F extends Readonly<Record<string, FlagSpec>>>(
  spec: CommandSpec<F>,
  work: (line: CommandLine<F>) => Promise<number | undefined>,
): CommandModule["run"] {
  return async (args) => {
    const { wantsHelp, help, ...line } = parseFlags(spec, args);
    if (!wantsHelp) return await work(line);
    process.stdout.write(help);
    return 0;
  };
}
