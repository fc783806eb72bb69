/**
 * Command-line flags: one description gives the values, the help text and the errors.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { nearest } from "../config/nearest.ts";

/** One flag, `--name`. */
export interface FlagSpec {
  /** `boolean` flags take no value. */
  readonly type: "string" | "boolean";
  /** What it does, for the help text. */
  readonly about: string;
  /** One letter: `-c`. */
  readonly short?: string;
  /** What the value is called in the help text. @default "VALUE" */
  readonly value?: string;
  /** The only values allowed. */
  readonly choices?: readonly string[];
  /** The value when the flag is not given. */
  readonly fallback?: string;
  /** May be given several times; its value is a list. */
  readonly multiple?: true;
}

/** A command: its flags and what else may stand on its line. */
export interface CommandSpec<F extends Readonly<Record<string, FlagSpec>> = Readonly<Record<string, FlagSpec>>> {
  /** As it is typed: `eagle get`. */
  readonly name: string;
  /** What it does, a sentence or two. */
  readonly about: string;
  /** `--help` and `-h` are added. */
  readonly flags: F;
  /** Arguments that are no flags, as `min` to `max` words. @default none */
  readonly args?: { readonly usage: string; readonly about: string; readonly min?: number; readonly max?: number };
  /** Command lines shown at the end of the help text. */
  readonly examples?: readonly string[];
}

/** The type of a flag's value. */
export type FlagValue<S extends FlagSpec> = S extends { type: "boolean" }
  ? boolean
  : S extends { multiple: true }
    ? Word<S>[]
    : S extends { fallback: string }
      ? Word<S>
      : Word<S> | undefined;

type Word<S extends FlagSpec> = S extends { choices: readonly (infer C)[] } ? C : string;

/** What a command line said. */
export interface Parsed<F extends Readonly<Record<string, FlagSpec>>> {
  readonly values: { readonly [K in keyof F]: FlagValue<F[K]> };
  readonly args: readonly string[];
  /** `--help` or `-h` was given; nothing else was checked then. */
  readonly wantsHelp: boolean;
  /** The help text, ends with a line break. */
  readonly help: string;
}

/** A command line that cannot be followed. The message is for people and ends with where to find help. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  readonly code = "usage";
  /** What the process should exit with. */
  readonly exitCode = 2;
}

/**
 * Reads a command line (without the program's own name).
 *
 * @throws UsageError for unknown flags, missing or surplus values, values outside the choices, too few or too many
 * arguments.
 * @example
 * const { values } = parseFlags({ name: "proxy", about: "…", flags: { config: { type: "string", about: "…" } } }, args);
 */
export function parseFlags<const F extends Readonly<Record<string, FlagSpec>>>(
  spec: CommandSpec<F>,
  args: readonly string[],
): Parsed<F> {
  const fail = (message: string): never => {
    throw new UsageError(`${spec.name}: ${message}\nTry: ${spec.name} --help`);
  };
  const flags: Readonly<Record<string, FlagSpec>> = { ...spec.flags, help: helpFlag };
  // The tokens are checked here and not by parseArgs' strict mode, whose messages differ between runtimes.
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      Object.entries(flags).map(([name, { type, short }]) => [name, { type, multiple: true, ...(short && { short }) }]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given = new Map<string, string[]>();
  const rest: string[] = [];
  const wantsHelp = tokens.some((token) => token.kind === "option" && token.name === "help");
  const help = renderHelp(spec);
  for (const token of wantsHelp ? [] : tokens) {
    if (token.kind === "positional") rest.push(token.value);
    if (token.kind !== "option") continue;
    const { name, rawName, value, inlineValue } = token;
    const flag = Object.hasOwn(flags, name) ? flags[name] : undefined;
    if (!flag) {
      const near = nearest(name, Object.keys(flags));
      return fail(`unknown flag ${rawName}${near ? `. Did you mean --${near}?` : ""}`);
    }
    if (flag.type === "boolean") {
      if (inlineValue) fail(`${rawName} takes no value`);
    } else if (value === undefined || (!inlineValue && value.startsWith("-") && value.length > 1)) {
      const example = flag.choices ? flag.choices.join(" or ") : (flag.value ?? "VALUE");
      return fail(`${rawName} needs a value: ${rawName} ${example}`);
    } else if (flag.choices && !flag.choices.includes(value)) {
      fail(`${rawName} must be ${flag.choices.join(", ")}; not ${JSON.stringify(value)}`);
    }
    const all = given.get(name) ?? [];
    if (all.length > 0 && flag.type === "string" && !flag.multiple) fail(`${rawName} is given twice`);
    given.set(name, [...all, value ?? ""]);
  }
  const { min = 0, max = min, usage = "" } = spec.args ?? {};
  if (!wantsHelp && rest.length < min) fail(`an argument is missing: ${spec.name} ${usage}`);
  if (!wantsHelp && rest.length > max)
    fail(
      `too many arguments: ${rest
        .slice(max)
        .map((word) => JSON.stringify(word))
        .join(" ")}`,
    );

  const values = Object.entries(spec.flags).map(([name, flag]) => [name, finalValue(flag, given.get(name))]);
  return { values: Object.fromEntries(values) as Parsed<F>["values"], args: rest, wantsHelp, help };
}

const helpFlag: FlagSpec = { type: "boolean", short: "h", about: "Show this text." };

function finalValue({ type, multiple, fallback }: FlagSpec, given: string[] | undefined) {
  if (type === "boolean") return given !== undefined;
  if (multiple) return given ?? (fallback === undefined ? [] : [fallback]);
  return given?.[0] ?? fallback;
}

/** The help text of a command, at most `width` columns where words allow it. */
export function renderHelp(spec: CommandSpec, { width = 100 }: { width?: number } = {}): string {
  const flags = Object.entries({ ...spec.flags, help: helpFlag });
  const rows = flags.map(([name, flag]): [string, string] => {
    const value = flag.type === "string" ? ` ${flag.value ?? "VALUE"}` : "";
    const notes = [
      flag.choices ? `one of ${flag.choices.join(", ")}` : "",
      flag.multiple ? "may be repeated" : "",
      flag.fallback === undefined ? "" : `default ${flag.fallback}`,
    ].filter((note) => note !== "");
    const about = notes.length > 0 ? `${flag.about} (${notes.join("; ")})` : flag.about;
    return [`${flag.short ? `-${flag.short}, ` : "    "}--${name}${value}`, about];
  });
  const left = Math.max(...rows.map(([flag]) => flag.length)) + 4;
  const list = rows.map(([flag, about]) => `  ${flag.padEnd(left - 2)}${wrap(about, width - left, left)}\n`).join("");
  const usage = `Usage: ${spec.name} [flags]${spec.args ? ` ${spec.args.usage}` : ""}\n`;
  const args = spec.args ? `\n${wrap(spec.args.about, width, 0)}\n` : "";
  const examples = spec.examples ? `\nExamples:\n${spec.examples.map((line) => `  ${line}\n`).join("")}` : "";
  return `${usage}\n${wrap(spec.about, width, 0)}\n${args}\nFlags:\n${list}${examples}`;
}

function wrap(text: string, width: number, indent: number): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/)) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.join(`\n${" ".repeat(indent)}`);
}
