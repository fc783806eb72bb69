/**
 * Writes docs/configuration.md from the schemas, so that the page cannot drift from what is accepted. After a change:
 * `node lib/config/reference.ts > docs/configuration.md`.
 *
 * @module
 */
import type { z } from "zod";
import { type FoundKey, keysOf } from "./keys.ts";
import { proxyConfigSchema } from "./proxy.ts";
import { seederConfigSchema } from "./seeder.ts";
import { trackerConfigSchema } from "./tracker.ts";

const intro = `# Configuration

<!-- Written by lib/config/reference.ts; edits here are lost. -->

Each app reads one YAML file. Every key may be left out; then its default holds. Commented examples:
[proxy.yaml](../deploy/examples/proxy.yaml), [seeder.yaml](../deploy/examples/seeder.yaml),
[tracker.yaml](../deploy/examples/tracker.yaml).

A file is taken as a whole or refused as a whole, at start: unknown keys, wrong types, values that cannot work, keys
written twice, certificates that cannot be read or do not fit their key. The message names each key, the line, what is
wrong and a right value:

    configuration of the proxy (proxy.yaml) is refused:
      clientCfg.limitSize (line 4, column 3): "100GB" is not a size (did you mean 100G?). Expected: …
      clientCfg.seeder (line 5, column 3): unknown key. Did you mean clientCfg.seeders?

How values are written:

- **Sizes**: bytes, or a number with K, M, G or T, which are powers of 1024: \`512K\`, \`100G\`. Rates are sizes per second.
- **Hosts of other parts**: \`host:port\`, \`[::1]:port\` or a URL. Without a scheme: \`http\`.
- **Registries**: \`host\`, \`host:port\` or a URL. Without a scheme: \`https\`, except for loopback and \`plainHTTP\`.
- **Lists**: a single value stands for a list of one.
- **Paths**: relative ones count from the working directory. Certificates, keys and passwords are read at start.
- A file is at most 1 MiB of UTF-8, one YAML 1.2 document.
`;

const pages: readonly { title: string; about: string; schema: z.ZodType }[] = [
  { title: "Proxy", about: "On every host, beside the container engine.", schema: proxyConfigSchema },
  { title: "Seeder", about: "Reads from registries once, and uploads first.", schema: seederConfigSchema },
  { title: "Tracker", about: "Knows who has what.", schema: trackerConfigSchema },
];

const sections: Readonly<Record<string, string>> = {
  clientCfg: "the client inside the proxy: what it stores, who it shares with.",
  proxyCfg: "the port that engines use: registry mirror and HTTP proxy.",
  seederCfg: "what the seeder stores, which registries it reads.",
  daemonCfg: "the seeder's HTTP port.",
  trackerCfg: "the tracker's port and its answers.",
  cluster: "how Eagle's own parts know each other; the same in all of them.",
  registries: "single registries, by the name engines know them by (`docker.io`, `registry.example.com:5000`).",
};

/** The whole page in Markdown: an introduction, then a table for each section of each app. */
export function renderReference(): string {
  return [intro, ...pages.map(renderPage)].join("\n");
}

function renderPage({ title, about, schema }: (typeof pages)[number]): string {
  const groups = Map.groupBy(keysOf(schema), ({ path }) => path[0]!);
  const tables = [...groups].map(
    ([name, keys]) => `\n### ${title}: ${name}\n\n\`${name}\`: ${sections[name]}\n\n${table(keys)}`,
  );
  return `## ${title}\n\n${about}\n${tables.join("")}`;
}

function table(keys: readonly FoundKey[]): string {
  const rows = keys.map(({ path, doc }) => {
    const fallback = doc.default === undefined ? "none" : `\`${doc.default}\``;
    return `| \`${path.slice(1).join(".")}\` | ${fallback} | ${cell(doc.description)} | ${cell(doc.kind)}, e.g. \`${cell(doc.example)}\` |\n`;
  });
  return `| key | default | meaning | value |\n|---|---|---|---|\n${rows.join("")}`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("<", "&lt;");
}

if (import.meta.main) process.stdout.write(renderReference());
