/**
 * YAML into plain values: strict about what is ambiguous, bounded in what it costs, able to say where a key stands.
 *
 * @module
 */
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, visit } from "yaml";
import { ConfigError, type ConfigProblem, invalid } from "./errors.ts";

/** Most bytes of a configuration file. */
export const maxYamlBytes = 1 << 20;

/** How often aliases may stand for anchors, all nested uses counted. */
const maxAliases = 100;

/** Most opening brackets; a wrong file full of them would cost the parser seconds. */
const maxBrackets = 10_000;

/** A parsed file. */
export interface YamlFile {
  /** Plain objects, lists and scalars; undefined for an empty file. */
  readonly value: unknown;
  /** Line and column, 1-based, of a key, or of the nearest key above it that the file holds. */
  locate(path: readonly PropertyKey[]): { line: number; column: number } | undefined;
}

/**
 * Parses one YAML 1.2 document. Duplicate keys, unknown tags, keys that are no scalars, several documents, and aliases
 * that multiply are refused.
 *
 * @throws ConfigError `invalid`; its problems have line and column.
 */
export function parseYaml(text: string): YamlFile {
  if ((text.match(/[[{]/g)?.length ?? 0) > maxBrackets) throw invalid(`more than ${maxBrackets} brackets`);
  const lines = new LineCounter();
  const position = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  // Without the parser's own check of keys, which takes quadratic time; its source excerpts could show a password.
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: false,
    logLevel: "error",
  });
  const problems: ConfigProblem[] = [...document.errors, ...document.warnings].slice(0, 20).map((error) => ({
    path: "",
    message: firstLine(error.message),
    ...position(error.pos[0]),
  }));
  if (problems.length === 0) {
    visit(document, {
      Map(_, map) {
        const seen = new Set<string>();
        for (const { key } of map.items) {
          const name = isScalar(key) ? String(key.value) : undefined;
          const at = position((key as Node | null)?.range?.[0] ?? map.range?.[0] ?? 0);
          if (name === undefined) problems.push({ path: "", message: "a key must be plain text", ...at });
          else if (seen.has(name)) problems.push({ path: name, message: "this key stands here twice", ...at });
          else seen.add(name);
          if (problems.length >= 20) return visit.BREAK;
        }
        return undefined;
      },
      Alias(_, alias, path) {
        const target = alias.resolve(document);
        if (target === undefined || !path.includes(target)) return undefined;
        problems.push({
          path: "",
          message: "an alias stands inside what it stands for",
          ...position(alias.range?.[0] ?? 0),
        });
        return visit.BREAK;
      },
    });
  }
  if (problems.length > 0) throw new ConfigError("invalid", "not valid YAML", { problems });

  return {
    value: toValue(() => document.toJS({ maxAliasCount: maxAliases })),
    locate(path) {
      let node: unknown = document.contents;
      let offset: number | undefined;
      for (const name of path) {
        if (isAlias(node)) node = node.resolve(document);
        if (isMap(node)) {
          const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(name));
          if (!pair) break;
          offset = (pair.key as Node).range?.[0] ?? offset;
          node = pair.value;
        } else if (isSeq(node)) {
          node = node.items[Number(name)];
          offset = (node as Node | undefined)?.range?.[0] ?? offset;
        } else break;
      }
      return offset === undefined ? undefined : position(offset);
    },
  };
}

function toValue(make: () => unknown): unknown {
  try {
    return make() ?? undefined;
  } catch (cause) {
    // Unknown anchors, and aliases that grow without end.
    throw new ConfigError("invalid", firstLine(cause instanceof Error ? cause.message : String(cause)), { cause });
  }
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0]!.replace(/:$/, "");
}
