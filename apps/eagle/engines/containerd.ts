/**
 * containerd: `config_path` in `/etc/containerd/config.toml`, and a `hosts.toml` for each registry.
 * @module
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { EditError, type FileEdit, textOf, undoing } from "./edit.ts";
import type { Engine, Finding } from "./engine.ts";
import { hasEagle, insertBlock, replaceLine, stringIn, type TomlTable, tablesOf, withoutEagle } from "./toml-lines.ts";

const FILE = "/etc/containerd/config.toml";
const CERTS = "/etc/containerd/certs.d";

/** Where CRI's registry settings stand: in files of version 2, and of version 3. */
const CRI = { "2": "io.containerd.grpc.v1.cri", "3": "io.containerd.cri.v1.images" } as const;

/** See `Engine`. */
export const containerd: Engine = {
  name: "containerd",
  traces: ["/usr/bin/containerd", "/usr/local/bin/containerd", FILE],

  async plan({ root, proxy, registries }) {
    const config = await readConfig(root);
    const edit = withConfigPath(config);
    const hosts = await Promise.all(registries.map((name) => hostsEdit(root, config.configPath ?? CERTS, name, proxy)));
    const changed = edit.before !== edit.after;
    return {
      edits: [edit, ...hosts],
      notes: changed ? [] : ["hosts.toml is read at each pull: nothing needs to be restarted."],
      ...(changed ? { reload: "systemctl restart containerd" } : {}),
    };
  },

  async planUndo({ root }) {
    const config = await readConfig(root);
    const edits: FileEdit[] = [];
    const directory = join(root, config.configPath ?? CERTS);
    for (const name of await readdir(directory).catch(() => [])) {
      const path = join(directory, name, "hosts.toml");
      edits.push(...(await undoEdit(path, await textOf(path))));
    }
    const own = await undoEdit(config.path, config.text);
    return {
      edits: [...edits, ...own],
      notes: [],
      ...(own.length > 0 ? { reload: "systemctl restart containerd" } : {}),
    };
  },

  async inspect({ root, proxy, registries }) {
    const { path, configPath } = await readConfig(root);
    const without = configPath === undefined;
    const findings: Finding[] = without
      ? [
          {
            status: "warn",
            message: `containerd (CRI) reads no hosts.toml: ${path} sets no config_path`,
            advice: "run: eagle setup containerd",
          },
        ]
      : [];
    const missing: string[] = [];
    for (const name of registries) {
      const hosts = (await textOf(join(root, configPath ?? CERTS, name, "hosts.toml"))) ?? "";
      if (!tableOf(hosts, proxy)) missing.push(name);
    }
    const found = registries.filter((name) => !missing.includes(name));
    if (found.length > 0 && !without) {
      findings.push({ status: "ok", message: `containerd pulls ${found.join(", ")} through ${proxy.origin}` });
    }
    if (missing.length > 0) {
      findings.push({
        status: "warn",
        message: `containerd does not pull ${missing.join(", ")} through ${proxy.origin}`,
        advice: `run: eagle setup containerd ${missing.map((name) => `--registry ${name}`).join(" ")}`,
      });
    }
    return findings;
  },
};

interface Config {
  readonly path: string;
  readonly text: string | undefined;
  readonly version: "2" | "3";
  /** The table that `config_path` belongs in, where the file has it. */
  readonly table: TomlTable | undefined;
  /** The first directory of `config_path`, when it is set. */
  readonly configPath: string | undefined;
}

async function readConfig(root: string): Promise<Config> {
  const path = join(root, FILE);
  const text = await textOf(path);
  const tables = tablesOf(text ?? "");
  const version = /^\s*version\s*=\s*(\d+)/m.exec(text ?? "")?.[1] ?? (text === undefined ? "2" : "1");
  if (version !== "2" && version !== "3") {
    throw new EditError(
      `${path} has version ${version}. Write it anew in version 2 (containerd config default > ${path}), then run this again`,
    );
  }
  const at = (...rest: string[]) =>
    tables.find(({ path }) => path.join("\n") === ["plugins", CRI[version], ...rest].join("\n"));
  const table = at("registry");
  const mirrors = ["plugins", CRI[version], "registry", "mirrors"];
  if (tables.some(({ path }) => path.length > mirrors.length && mirrors.every((part, at) => path[at] === part))) {
    throw new EditError(
      `${path} has registry.mirrors, which containerd does not take together with config_path. Move them to hosts.toml files (one directory a registry below ${CERTS}), then run this again`,
    );
  }
  // Inline tables and dotted keys: nothing that a table header could stand beside.
  const lines = (text ?? "").split("\n").filter((_, at) => !inside(table, at));
  if (lines.some((line) => /^\s*(?:[^=#[]*\.)?["']?registry["']?\s*[.=]/.test(line))) {
    throw new EditError(
      `${path} sets its registries in a way that this command does not read. Add by hand: ${byHand(version)}`,
    );
  }
  const value = table && stringIn(text ?? "", table, "config_path");
  return { path, text, version, table, configPath: value?.split(":")[0] || undefined };
}

function inside(table: TomlTable | undefined, line: number): boolean {
  return table !== undefined && line > table.start && line < table.end;
}

function byHand(version: "2" | "3"): string {
  return `[plugins."${CRI[version]}".registry] config_path = "${CERTS}"`;
}

function withConfigPath({ path, text, version, table, configPath }: Config): FileEdit {
  if (configPath !== undefined) return { path, before: text, after: text };
  const line = `  config_path = "${CERTS}"`;
  if (text === undefined) {
    const after = insertBlock("", 0, ["version = 2", "", `[plugins."${CRI[version]}".registry]`, line]);
    return { path, before: undefined, after };
  }
  if (!table) {
    const at = text.replace(/\n$/, "").split("\n").length;
    return { path, before: text, after: insertBlock(text, at, [`[plugins."${CRI[version]}".registry]`, line]) };
  }
  const empty = text.split("\n").findIndex((each, at) => inside(table, at) && /^\s*config_path\s*=/.test(each));
  const after = empty < 0 ? insertBlock(text, table.start + 1, [line]) : replaceLine(text, empty, line);
  return { path, before: text, after };
}

async function hostsEdit(root: string, configPath: string, registry: string, proxy: URL): Promise<FileEdit> {
  const path = join(root, configPath, registry, "hosts.toml");
  const before = await textOf(path);
  if (tableOf(before ?? "", proxy)) return { path, before, after: before };
  const [top] = tablesOf(before ?? "");
  // Hosts are tried in the order they are written: Eagle before any other.
  const block = [`[host."${proxy.origin}"]`, '  capabilities = ["pull", "resolve"]'];
  return { path, before, after: insertBlock(before ?? "", top!.end, block) };
}

function tableOf(hosts: string, proxy: URL): TomlTable | undefined {
  return tablesOf(hosts).find(
    ({ path: [kind, host] }) => kind === "host" && URL.parse(host ?? "")?.origin === proxy.origin,
  );
}

async function undoEdit(path: string, text: string | undefined): Promise<FileEdit[]> {
  if (text === undefined || !hasEagle(text)) return [];
  const without = withoutEagle(text);
  return [await undoing(path, { before: text, without: without.trim() === "" ? undefined : without })];
}
