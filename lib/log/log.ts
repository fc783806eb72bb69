/**
 * The logger every part is given: one line an event, a message and named fields.
 *
 * Lines go to stderr, so that stdout stays free for what a command prints. A logger never throws and never waits: a
 * line that cannot be written is lost, the work that wrote it goes on. Secrets are taken out by field name and from
 * the user part of URLs (see `render.ts`).
 *
 * @module
 */
import { clean, cleanText, textValue } from "./render.ts";

/** How important a line is; a logger writes its own level and those above it. */
export type Level = "debug" | "info" | "warn" | "error";

/** Every level, least important first. */
export const levels: readonly Level[] = ["debug", "info", "warn", "error"];

/** How a line looks: for people, or for machines (one JSON object a line). */
export type LogFormat = "text" | "json";

/** Writes lines. Fields are plain values, errors, URLs, digests; they are copied, shortened and cleaned of secrets. */
export interface Logger {
  debug(msg: string, fields?: Record<string, unknown>): void;
  info(msg: string, fields?: Record<string, unknown>): void;
  warn(msg: string, fields?: Record<string, unknown>): void;
  error(msg: string, fields?: Record<string, unknown>): void;
  /** A logger that adds `fields` to each of its lines. It has nothing to close. */
  child(fields: Record<string, unknown>): Logger;
}

/** What {@link createLogger} may be told. */
export interface LoggerOptions {
  /** The least important level that is written. @default "info" */
  level?: Level;
  /** @default "text" when stderr is a terminal, else "json" */
  format?: LogFormat;
  /** Takes one line without its line break. @default writes to stderr */
  write?: (line: string) => void;
  /** The part that speaks, e.g. "proxy". */
  name?: string;
  /** The clock, ms since 1970. @default Date.now */
  now?: () => number;
}

/**
 * Makes a logger.
 *
 * @example
 * const log = createLogger({ level: "debug", name: "proxy" });
 * log.info("blob committed", { digest, size, ms });
 */
export function createLogger({
  level = "info",
  format = process.stderr.isTTY ? "text" : "json",
  write = stderrWriter(),
  name,
  now = Date.now,
}: LoggerOptions = {}): Logger {
  const least = levels.indexOf(level);
  const line = format === "json" ? jsonLine : textLine;

  function make(bound: Record<string, unknown>): Logger {
    const at =
      (own: Level): Logger["info"] =>
      (msg, fields) => {
        if (levels.indexOf(own) < least) return;
        try {
          write(line(new Date(now()).toISOString(), own, name, cleanText(msg), { ...bound, ...clean(fields ?? {}) }));
        } catch {
          // A full disk or a closed pipe under the log must not stop a pull.
        }
      };
    return {
      debug: at("debug"),
      info: at("info"),
      warn: at("warn"),
      error: at("error"),
      child: (fields) => make({ ...bound, ...clean(fields) }),
    };
  }
  return make({});
}

const ignore = (): void => {};

/** A logger that writes nothing: the default of parts that were given none. */
export const silentLogger: Logger = {
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
  child: () => silentLogger,
};

function jsonLine(time: string, level: Level, name: string | undefined, msg: string, fields: Record<string, unknown>) {
  const fixed = { time, level, ...(name ? { name } : {}), msg };
  // First for the reader's eye, last so that a field called "level" cannot pose as the level.
  return JSON.stringify({ ...fixed, ...fields, ...fixed });
}

function textLine(time: string, level: Level, name: string | undefined, msg: string, fields: Record<string, unknown>) {
  let text = `${time} ${level.toUpperCase().padEnd(5)} ${name ? `${name}: ` : ""}${textValue(msg, { bare: true })}`;
  for (const [key, value] of Object.entries(fields)) {
    if (value !== undefined) text += ` ${textValue(key)}=${textValue(value)}`;
  }
  return text;
}

function stderrWriter(): (line: string) => void {
  // Without a listener a broken pipe on stderr would end the process.
  if (process.stderr.listenerCount("error") === 0) process.stderr.on("error", ignore);
  return (line) => {
    process.stderr.write(`${line}\n`);
  };
}
