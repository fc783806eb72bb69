/**
 * Rows as text in aligned columns.
 *
 * @module
 */

/** How a {@link renderTable} column stands. */
export type Align = "left" | "right";

/**
 * Columns two spaces apart, as wide as their widest cell, no spaces at the end of lines; a line break after each row.
 * Control characters in cells become spaces. Rows may have fewer cells than others. Columns without an alignment stand
 * left.
 *
 * @example renderTable([["a", 10], ["bc", 5]], { header: ["name", "bytes"], align: ["left", "right"] })
 */
export function renderTable(
  rows: readonly (readonly (string | number)[])[],
  { header, align = [] }: { header?: readonly string[]; align?: readonly Align[] } = {},
): string {
  const cells = [...(header ? [header] : []), ...rows].map((row) =>
    row.map((cell) => String(cell).replace(/\p{Cc}+/gu, " ")),
  );
  const widths: number[] = [];
  for (const row of cells) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, columns(cell));
  }
  const lines = cells.map((row) =>
    row
      .map((cell, i) => {
        const space = " ".repeat(widths[i]! - columns(cell));
        return align[i] === "right" ? space + cell : cell + space;
      })
      .join("  ")
      .trimEnd(),
  );
  return lines.map((line) => `${line}\n`).join("");
}

function columns(text: string): number {
  return [...text].length;
}
