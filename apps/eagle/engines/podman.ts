/**
 * podman, buildah, skopeo and cri-o: a mirror in `registries.conf` or a drop-in beside it.
 * @module
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { type FileEdit, textOf, undoing } from "./edit.ts";
import type { Engine, Finding } from "./engine.ts";
import { hasEagle, insertBlock, stringIn, type TomlTable, tablesOf, withoutEagle } from "./toml-lines.ts";

const FILE = "/etc/containers/registries.conf";
const DROP_INS = "/etc/containers/registries.conf.d";
const OWN = `${DROP_INS}/eagle.conf`;

/** See `Engine`. */
export const podman: Engine = {
  name: "podman",
  traces: ["/usr/bin/podman", "/usr/bin/buildah", "/usr/bin/skopeo", "/usr/bin/crio", FILE, DROP_INS],

  async plan({ root, proxy, registries }) {
    const own = join(root, OWN);
    const texts = new Map(await filesOf(root));
    const before = new Map(texts);
    texts.set(own, texts.get(own) ?? "");
    for (const name of registries) {
      const found = [...texts].findLast(([, text]) => registryOf(text, name) !== undefined);
      if (!found) {
        const entry = ["[[registry]]", `prefix = "${name}"`, `location = "${name}"`, ...mirrorLines(proxy)];
        texts.set(own, insertBlock(texts.get(own)!, Number.POSITIVE_INFINITY, entry));
        continue;
      }
      // Another entry of the same name in a later file would replace this one, its settings included.
      const [path, text] = found;
      const registry = registryOf(text, name)!;
      if (mirrorOf(text, registry, proxy)) continue;
      texts.set(path, insertBlock(text, registry.end, mirrorLines(proxy)));
    }
    const edits = [...texts].map(([path, text]) => ({
      path,
      before: before.get(path),
      after: before.get(path) === undefined && text === "" ? undefined : text,
    }));
    return { edits, notes: ["The next pull reads it: nothing needs to be restarted (cri-o: systemctl reload crio)."] };
  },

  async planUndo({ root }) {
    const edits: FileEdit[] = [];
    for (const [path, text] of await filesOf(root)) {
      if (!hasEagle(text)) continue;
      const without = withoutEagle(text);
      edits.push(await undoing(path, { before: text, without: without.trim() === "" ? undefined : without }));
    }
    return { edits, notes: [] };
  },

  async inspect({ root, proxy, registries }) {
    const texts = await filesOf(root);
    const missing = registries.filter((name) => {
      const found = texts.findLast(([, text]) => registryOf(text, name) !== undefined);
      return !found || !mirrorOf(found[1], registryOf(found[1], name)!, proxy);
    });
    const found = registries.filter((name) => !missing.includes(name));
    const findings: Finding[] = [];
    if (found.length > 0) {
      findings.push({ status: "ok", message: `podman pulls ${found.join(", ")} through ${proxy.origin}` });
    }
    if (missing.length > 0) {
      findings.push({
        status: "warn",
        message: `podman does not pull ${missing.join(", ")} through ${proxy.origin}`,
        advice: `run: eagle setup podman ${missing.map((name) => `--registry ${name}`).join(" ")}`,
      });
    }
    return findings;
  },
};

/** The files in the order they are read: a later entry of a registry replaces an earlier one. */
async function filesOf(root: string): Promise<[path: string, text: string][]> {
  const directory = join(root, DROP_INS);
  const names = (await readdir(directory).catch(() => [])).filter((name) => name.endsWith(".conf")).sort();
  const files: [string, string][] = [];
  for (const path of [join(root, FILE), ...names.map((name) => join(directory, name))]) {
    const text = await textOf(path);
    if (text !== undefined) files.push([path, text]);
  }
  return files;
}

/** The entry of a registry, which ends before its mirrors. */
function registryOf(text: string, name: string): TomlTable | undefined {
  return tablesOf(text).find(
    (table) =>
      table.isArray &&
      table.path.join(".") === "registry" &&
      (stringIn(text, table, "prefix") ?? stringIn(text, table, "location")) === name,
  );
}

/** The mirror in a registry's entry that is the proxy. */
function mirrorOf(text: string, registry: TomlTable, proxy: URL): TomlTable | undefined {
  const tables = tablesOf(text);
  const from = tables.findIndex(({ start }) => start === registry.start) + 1;
  for (const table of tables.slice(from)) {
    if (table.path.join(".") !== "registry.mirror") return undefined;
    if (stringIn(text, table, "location") === proxy.host) return table;
  }
  return undefined;
}

function mirrorLines(proxy: URL): string[] {
  const insecure = proxy.protocol === "http:" ? ["insecure = true"] : [];
  return ["[[registry.mirror]]", `location = "${proxy.host}"`, ...insecure];
}
