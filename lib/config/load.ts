/**
 * Loads a configuration: file and given values, checked against an app's schema, refused as a whole or returned whole.
 *
 * @module
 */
import type { z } from "zod";
import { ConfigError, type ConfigProblem, shown } from "./errors.ts";
import { keysOf } from "./keys.ts";
import { nearest } from "./nearest.ts";
import { readTextFile } from "./text-file.ts";
import { maxYamlBytes, parseYaml, type YamlFile } from "./yaml.ts";

/** Where a configuration comes from. */
export interface LoadOptions {
  /** Which app it is for: stands in the messages. */
  app: "proxy" | "seeder" | "tracker";
  /** Path of a YAML file, at most 1 MiB. */
  file?: string | undefined;
  /** Values that go over the file's, section by section; the whole configuration when there is no file. */
  object?: Record<string, unknown> | undefined;
}

/** Most problems that one message lists. */
const maxProblems = 20;

/**
 * Reads and checks. Without file and object: the defaults. Files that keys name (certificates, keys, passwords) are
 * read now; relative paths count from the working directory.
 *
 * @throws ConfigError `unreadable` when the file itself cannot be read, `invalid` for everything else; the message
 * lists each problem with the key's path, what is wrong, and an example of a right value.
 * @example loadConfig(proxyConfigSchema, { app: "proxy", file: "proxy.yaml" })
 */
export function loadConfig<S extends z.ZodType>(schema: S, { app, file, object }: LoadOptions): z.output<S> {
  const name = `configuration of the ${app}${file === undefined ? "" : ` (${file})`}`;
  const yaml = file === undefined ? undefined : readYaml(name, file);
  const written = withoutEmpty(yaml?.value ?? {});
  // A file that is no section is refused as it stands, not covered by the given values.
  const input = isPlain(written) ? merge(written, object) : written;
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const problems = result.error.issues
    .flatMap((issue) => problemsOf(issue, input, schema))
    .map(({ path, message }): ConfigProblem => ({ path: path.join("."), message, ...yaml?.locate(path) }))
    .sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
  throw refused(name, problems);
}

function readYaml(name: string, file: string): YamlFile {
  try {
    return parseYaml(readTextFile(file, { limit: maxYamlBytes }).content);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    if (error.code === "unreadable") throw new ConfigError("unreadable", `${name}: ${error.message}`, { cause: error });
    throw refused(name, error.problems);
  }
}

function refused(name: string, problems: readonly ConfigProblem[]): ConfigError {
  const lines = problems.slice(0, maxProblems).map(({ path, message, line, column }) => {
    const place = line === undefined ? "" : `line ${line}, column ${column}`;
    const head = path === "" ? place : `${path}${place && ` (${place})`}`;
    return `\n  ${head === "" ? "" : `${head}: `}${message}`;
  });
  if (problems.length > maxProblems) lines.push(`\n  … and ${problems.length - maxProblems} more`);
  return new ConfigError("invalid", `${name} is refused:${lines.join("")}`, { problems: [...problems] });
}

/** A problem whose path still has its steps apart: names of registries have dots in them. */
interface Found {
  path: string[];
  message: string;
}

function problemsOf(issue: z.core.$ZodIssue, input: unknown, schema: z.ZodType): Found[] {
  const path = issue.path.map(String);
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((name) => ({ path: [...path, name], message: unknownKey(path, name, schema) }));
    case "invalid_key":
      return [{ path, message: issue.issues.map((inner) => inner.message).join("; ") }];
    case "invalid_type": {
      const first = keysOf(schema).find((known) => matches(known.path.slice(0, path.length), path));
      const example = first ? `; for example: ${flow(first.path.slice(path.length), first.doc.example)}` : "";
      const value = issue.path.reduce<unknown>(
        (at, step) => (at as Record<PropertyKey, unknown> | null)?.[step],
        input,
      );
      return [{ path, message: `${shown(value)} is not a section. Expected: keys with values${example}` }];
    }
    default:
      return [{ path, message: issue.message }];
  }
}

/** A nested example on one line: `{port: 6969}`. */
function flow(path: readonly string[], example: string): string {
  return path.reduceRight((inner, name) => `{${name}: ${inner}}`, example);
}

function unknownKey(section: readonly string[], name: string, schema: z.ZodType): string {
  const keys = keysOf(schema).map(({ path }) => path);
  const here = keys.filter((path) => path.length > section.length && matches(path.slice(0, section.length), section));
  const names = [...new Set(here.map((path) => path[section.length]!))];
  const near = nearest(name, names);
  if (near !== undefined) return `unknown key. Did you mean ${[...section, near].join(".")}?`;
  const last = nearest(
    name,
    keys.map((path) => path.at(-1)!),
  );
  const elsewhere = keys.find((path) => path.at(-1) === last);
  if (elsewhere !== undefined) return `unknown key. Did you mean ${elsewhere.join(".")}?`;
  return `unknown key. Known here: ${names.join(", ")}`;
}

/** Whether a path is one of a schema, whose `<host>` stands for any name. */
function matches(known: readonly string[], path: readonly string[]): boolean {
  return known.length === path.length && known.every((name, i) => name === "<host>" || name === path[i]);
}

/** A section whose keys are all commented out reads as null; it counts as left out. */
function withoutEmpty(value: unknown): unknown {
  if (!isPlain(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, section]) => section !== null));
}

function merge(under: unknown, over: unknown): unknown {
  if (!isPlain(under) || !isPlain(over)) return over === undefined ? under : over;
  const merged = new Map(Object.entries(under));
  for (const [name, value] of Object.entries(over)) merged.set(name, merge(merged.get(name), value));
  return Object.fromEntries(merged);
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
