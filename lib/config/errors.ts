/**
 * The one error of this room, and how a refused value is shown in it.
 *
 * @module
 */

/** One thing that is wrong with a configuration. */
export interface ConfigProblem {
  /** Dotted path of the key, e.g. `clientCfg.limitSize`; empty for the whole file. */
  readonly path: string;
  /** What is wrong and what to write instead; never holds a secret. */
  readonly message: string;
  /** 1-based line and column in the file, where known. */
  readonly line?: number;
  readonly column?: number;
}

/** `invalid`: the content is wrong. `unreadable`: a file cannot be read. */
export type ConfigErrorCode = "invalid" | "unreadable";

/** A configuration that was refused. The message is for people, and lists every problem on a line of its own. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly code: ConfigErrorCode;
  readonly problems: readonly ConfigProblem[];

  constructor(code: ConfigErrorCode, message: string, options: ErrorOptions & { problems?: ConfigProblem[] } = {}) {
    super(message, options);
    this.code = code;
    this.problems = options.problems ?? [{ path: "", message }];
  }
}

/** The error of a single wrong value: what is wrong, without its key. */
export function invalid(message: string): ConfigError {
  return new ConfigError("invalid", message);
}

/** A value as it stands in a message: quoted, at most 60 characters, nothing before an `@`. */
export function shown(value: unknown): string {
  if (value === null || value === undefined) return "an empty value";
  if (typeof value === "string") {
    const safe = value.replace(/[^\s/]*@/g, "[redacted]@");
    return JSON.stringify(safe.length > 60 ? `${safe.slice(0, 60)}…` : safe);
  }
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  return typeof value === "object" ? "a section" : String(value);
}
