/**
 * The process of a service: flags, configuration, log, and a clean end at a signal.
 * @module
 */
import { ConfigError } from "../config/errors.ts";
import { createLogger, type Logger } from "../log/log.ts";
import { parseFlags, UsageError } from "./flags.ts";
import { onShutdown } from "./signals.ts";
import { spareStackTraces } from "./stack-traces.ts";

/** A service that can be closed. */
export interface Running {
  /** Takes no more work, finishes what is under way. */
  close(): Promise<void>;
}

/** What makes a service out of a configuration. */
export interface ServiceSpec<C> {
  readonly name: string;
  /** As it is typed, for the help text. @default name */
  readonly command?: string | undefined;
  /** What it does, a sentence or two, for the help text. */
  readonly about: string;
  /** Which sections its file has, for the help text. */
  readonly sections: string;
  /** @throws ConfigError */
  load(file: string | undefined): C;
  /** Whether the configuration asks for debug lines. */
  verbose(config: C): boolean;
  start(config: C, context: { log: Logger }): Promise<Running>;
}

const FLAGS = {
  config: { type: "string", short: "c", value: "FILE", about: "YAML file; without it the defaults" },
  "log-level": {
    type: "string",
    choices: ["debug", "info", "warn", "error"],
    about: "how much is logged (default info)",
  },
  "log-format": { type: "string", choices: ["text", "json"], about: "default text on a terminal, else json" },
} as const;

/**
 * Runs until SIGTERM or SIGINT, or until it cannot start. Exits with 0 after a signal or for help, 1 when it cannot
 * start or stop, 2 for a wrong command line.
 */
export async function runService<C>(
  spec: ServiceSpec<C>,
  args: readonly string[] = process.argv.slice(2),
): Promise<void> {
  spareStackTraces();
  const command = spec.command ?? spec.name;
  try {
    const about = `${spec.about} The file's sections: ${spec.sections} (docs/configuration.md).`;
    const flags = parseFlags(
      { name: command, about, flags: FLAGS, examples: [`${command} --config ${spec.name}.yaml`] },
      args,
    );
    if (flags.wantsHelp) {
      process.stdout.write(flags.help);
      return;
    }
    const config = spec.load(flags.values.config);
    const format = flags.values["log-format"];
    const log = createLogger({
      name: spec.name,
      level: flags.values["log-level"] ?? (spec.verbose(config) ? "debug" : "info"),
      ...(format ? { format } : {}),
    });
    const running = await spec.start(config, { log });
    onShutdown(async (signal) => {
      log.info(`${spec.name} stops`, { signal });
      await running.close();
    });
  } catch (error) {
    const known = error instanceof UsageError || error instanceof ConfigError;
    process.stderr.write(`${known ? "" : `${spec.name}: `}${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}
