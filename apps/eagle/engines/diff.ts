/**
 * What an edit changes, as people read it.
 * @module
 */
import type { FileEdit } from "./edit.ts";

/** Lines shown around a change. */
const CONTEXT = 2;
/** Beyond so many lines the whole file counts as changed: the table grows with the square. */
const MAX_LINES = 2000;

/** The edit in the manner of a unified diff, ends with a line break. */
export function renderDiff({ path, before, after }: FileEdit): string {
  const head = `--- ${before === undefined ? "/dev/null" : path}\n+++ ${after === undefined ? "/dev/null" : path}\n`;
  const lines = compare(linesOf(before), linesOf(after));
  const shown = new Set<number>();
  for (const [at, line] of lines.entries()) {
    if (line.startsWith(" ")) continue;
    for (let near = at - CONTEXT; near <= at + CONTEXT; near++) shown.add(near);
  }
  const text: string[] = [];
  for (const [at, line] of lines.entries()) {
    if (shown.has(at)) text.push(line);
    else if (shown.has(at - 1) || at === 0) text.push(" ...");
  }
  return `${head}${text.map((line) => `${line.trimEnd()}\n`).join("")}`;
}

function linesOf(text: string | undefined): string[] {
  if (text === undefined || text === "") return [];
  return text.replace(/\n$/, "").split("\n");
}

/** Lines with `-`, `+` or a space before them, by the longest common subsequence. */
function compare(a: readonly string[], b: readonly string[]): string[] {
  if (a.length > MAX_LINES || b.length > MAX_LINES)
    return [...a.map((line) => `-${line}`), ...b.map((line) => `+${line}`)];
  const width = b.length + 1;
  const longest = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      longest[i * width + j] =
        a[i] === b[j]
          ? longest[(i + 1) * width + j + 1]! + 1
          : Math.max(longest[(i + 1) * width + j]!, longest[i * width + j + 1]!);
    }
  }
  const lines: string[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push(` ${a[i]}`);
      i++;
      j++;
    } else if (j >= b.length || (i < a.length && longest[(i + 1) * width + j]! >= longest[i * width + j + 1]!)) {
      lines.push(`-${a[i++]}`);
    } else lines.push(`+${b[j++]}`);
  }
  return lines;
}
