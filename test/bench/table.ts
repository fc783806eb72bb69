/**
 * @module Tables on a terminal.
 */

/** A cell: text is aligned to the left, figures (a string with a digit first, or `-`) to the right. */
export type Cell = string;

/** Lays out rows under their headings. */
export function formatTable(headings: readonly Cell[], rows: readonly (readonly Cell[])[]): string {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const isFigures = headings.map((_, column) => rows.every((row) => /^([-\d<]|$)/.test(row[column] ?? "")));
  const line = (row: readonly Cell[]) =>
    widths
      .map((width, column) => {
        const cell = row[column] ?? "";
        return isFigures[column] ? cell.padStart(width) : cell.padEnd(width);
      })
      .join("  ")
      .trimEnd();
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  return [line(headings), rule, ...rows.map(line)].join("\n");
}
