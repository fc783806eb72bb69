/**
 * The text of `eagle --help`.
 * @module
 */
import { renderTable } from "../../../lib/cli/table.ts";
import type { Command } from "./commands.ts";

const HEADINGS: readonly (readonly [Command["group"], string])[] = [
  ["start", "To begin with"],
  ["ask", "To fetch and to look"],
  ["part", "The parts of a cluster, each with its own configuration file (docs/configuration.md)"],
];

/** Ends with a line break. */
export function renderOverview(commands: readonly Command[]): string {
  const groups = HEADINGS.map(([group, heading]) => {
    const rows = commands
      .filter((command) => command.group === group)
      .map(({ name, usage, about }) => ["", `eagle ${name} ${usage}`.trim(), about]);
    return { heading, rows };
  });
  // One table for all groups, so that their columns stand in line.
  const lines = renderTable(groups.flatMap(({ rows }) => rows)).split("\n");
  const text = groups.map(({ heading, rows }) => `${heading}:\n${lines.splice(0, rows.length).join("\n")}\n`);
  return `Eagle brings container images to many hosts at once. A container engine pulls as it always did, through
Eagle's proxy on its host; the proxy takes the image from its own disk, from other hosts or from a
seeder, so that the registry sends each layer once, however many hosts pull it.

${text.join("\n")}
Every command explains itself: eagle COMMAND --help. This program's version: eagle --version
`;
}
