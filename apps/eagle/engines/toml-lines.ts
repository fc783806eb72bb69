/**
 * TOML as lines: where its tables stand, and single values in them, so that a table can be added without touching
 * anything else. No TOML reader: nothing is interpreted that is not looked for.
 * @module
 */

/** A table of a TOML text: `[a.b]` or `[[a]]`, or what stands before the first of them. */
export interface TomlTable {
  /** The parts of its name; empty for the top. */
  readonly path: readonly string[];
  /** `[[...]]` */
  readonly isArray: boolean;
  /** Line of its header, -1 for the top. */
  readonly start: number;
  /** The line behind its last one. */
  readonly end: number;
}

/** Marks of what Eagle has put in. */
const BEGIN = "# eagle: begin (eagle setup; eagle setup --undo takes it out)";
const END = "# eagle: end";
const WAS = " # eagle: was ";

/** The tables of a text, in order. */
export function tablesOf(text: string): TomlTable[] {
  const tables: TomlTable[] = [];
  let open: { path: string[]; isArray: boolean; start: number } = { path: [], isArray: false, start: -1 };
  const lines = text.split("\n");
  const state = { depth: 0, quote: "" };
  for (const [at, line] of lines.entries()) {
    const header = state.depth === 0 && state.quote === "" ? headerOf(line) : undefined;
    if (header) {
      tables.push({ ...open, end: at });
      open = { ...header, start: at };
    } else scan(line, state);
  }
  tables.push({ ...open, end: lines.length });
  return tables;
}

/** The string that a key of a table has; undefined where it has none, or none that is a plain string. */
export function stringIn(text: string, { start, end }: TomlTable, key: string): string | undefined {
  for (const line of text.split("\n").slice(start + 1, end)) {
    const match = /^\s*("[^"]*"|'[^']*'|[A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)')\s*(?:#.*)?$/.exec(line);
    if (match && bare(match[1]!) === key) return match[2] ?? match[3];
  }
  return undefined;
}

/** Puts lines before line `at`, marked as Eagle's. */
export function insertBlock(text: string, at: number, block: readonly string[]): string {
  const lines = text === "" ? [] : text.replace(/\n$/, "").split("\n");
  lines.splice(Math.min(at, lines.length), 0, BEGIN, ...block, END);
  return `${lines.join("\n")}\n`;
}

/** Replaces line `at` (its indentation stays), so that `withoutEagle` finds what it was. */
export function replaceLine(text: string, at: number, line: string): string {
  const lines = text.split("\n");
  const old = lines[at]!;
  lines[at] = `${/^\s*/.exec(old)![0]}${line.trim()}${WAS}${old.trim()}`;
  return lines.join("\n");
}

/** The text without what `insertBlock` and `replaceLine` put in. */
export function withoutEagle(text: string): string {
  const kept: string[] = [];
  let inside = false;
  for (const line of text.split("\n")) {
    if (line === BEGIN) inside = true;
    const was = line.indexOf(WAS);
    if (!inside) kept.push(was < 0 ? line : `${/^\s*/.exec(line)![0]}${line.slice(was + WAS.length)}`);
    if (line === END) inside = false;
  }
  return kept.join("\n");
}

/** Whether Eagle has put anything in. */
export function hasEagle(text: string): boolean {
  return text.includes(BEGIN) || text.includes(WAS);
}

function headerOf(line: string): { path: string[]; isArray: boolean } | undefined {
  const match = /^\s*\[(\[)?((?:[^\]"']|"[^"]*"|'[^']*')+)\]?\]\s*(?:#.*)?$/.exec(line);
  if (!match) return undefined;
  const parts = match[2]!.match(/"[^"]*"|'[^']*'|[A-Za-z0-9_-]+/g) ?? [];
  return { path: parts.map(bare), isArray: match[1] !== undefined };
}

function bare(part: string): string {
  return /^["']/.test(part) ? part.slice(1, -1) : part;
}

/** Follows brackets and strings over several lines: a line inside them is no header. */
function scan(line: string, state: { depth: number; quote: string }): void {
  for (let at = 0; at < line.length; at++) {
    const rest = line.slice(at);
    if (state.quote !== "") {
      if (state.quote.startsWith('"') && rest.startsWith("\\")) at++;
      else if (rest.startsWith(state.quote)) {
        at += state.quote.length - 1;
        state.quote = "";
      }
      continue;
    }
    if (rest.startsWith("#")) return;
    const quote = ['"""', "'''", '"', "'"].find((each) => rest.startsWith(each));
    if (quote) {
      state.quote = quote;
      at += quote.length - 1;
    } else if (rest[0] === "[" || rest[0] === "{") state.depth++;
    else if (rest[0] === "]" || rest[0] === "}") state.depth = Math.max(0, state.depth - 1);
  }
  // Only the triple ones may go on in the next line.
  if (state.quote.length === 1) state.quote = "";
}
