/**
 * docker: `registry-mirrors` in `/etc/docker/daemon.json`.
 * @module
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { backupOf, EditError, textOf, undoing } from "./edit.ts";
import type { Engine, Finding } from "./engine.ts";

const FILE = "/etc/docker/daemon.json";
const KEY = "registry-mirrors";
const HUB = "docker.io";

type Settings = Record<string, unknown>;

/** See `Engine`. */
export const docker: Engine = {
  name: "docker",
  traces: ["/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd", FILE],

  async plan({ root, proxy, registries }) {
    const path = join(root, FILE);
    const before = await textOf(path);
    const settings = parse(path, before);
    const mirrors = mirrorsOf(path, settings);
    const others = registries.filter((name) => name !== HUB);
    const notes = others.map(
      (name) =>
        `docker mirrors Docker Hub alone. For ${name} it can use the proxy as its HTTP proxy (docs/clients.md), or name the proxy itself: docker pull ${proxy.host}/NAME:TAG, where ${name} is the proxy's default registry.`,
    );
    if (!registries.includes(HUB) || mirrors.some((mirror) => isProxy(mirror, proxy))) {
      return { edits: [{ path, before, after: before }], notes };
    }
    const after = render({ ...settings, [KEY]: [proxy.origin, ...mirrors] }, before);
    return { edits: [{ path, before, after }], notes, reload: "systemctl reload docker" };
  },

  async planUndo({ root, proxy }) {
    const path = join(root, FILE);
    const before = await textOf(path);
    if (before === undefined) return { edits: [], notes: [] };
    const settings = parse(path, before);
    const mirrors = mirrorsOf(path, settings);
    const rest = mirrors.filter((mirror) => !isProxy(mirror, proxy));
    if (rest.length === mirrors.length) return { edits: [{ path, before, after: before }], notes: [] };
    const { [KEY]: _, ...others } = settings;
    const original = await backupOf(path);
    const keepsKey = rest.length > 0 || (original !== undefined && KEY in parse(path, original));
    const left = keepsKey ? { ...settings, [KEY]: rest } : others;
    const without = Object.keys(left).length === 0 ? undefined : render(left, before);
    const same = (a: string, b: string) => isDeepStrictEqual(parse(path, a), parse(path, b));
    return { edits: [await undoing(path, { before, without, same })], notes: [], reload: "systemctl reload docker" };
  },

  async inspect({ root, proxy, registries }, { defaultRegistry }) {
    const path = join(root, FILE);
    const findings: Finding[] = [];
    const mirrors = mirrorsOf(path, parse(path, await textOf(path)));
    const mirrored = mirrors.some((mirror) => isProxy(mirror, proxy));
    const asProxy = await proxyDropIn(root, proxy);
    if (mirrored && defaultRegistry !== HUB) {
      findings.push({
        status: "fail",
        message: `docker asks ${proxy.origin} for Docker Hub's images, and this proxy's default registry is ${defaultRegistry ?? "none"}`,
        advice: "set proxyCfg.origin: docker.io",
      });
    } else if (mirrored) {
      findings.push({ status: "ok", message: `docker pulls Docker Hub's images through ${proxy.origin}` });
    }
    if (asProxy) {
      findings.push({ status: "ok", message: `docker has ${proxy.origin} as its HTTP proxy (${asProxy})` });
    }
    if (!mirrored && !asProxy) {
      const hub = registries.includes(HUB);
      findings.push({
        status: "warn",
        message: `docker does not pull through ${proxy.origin}`,
        advice: hub ? "run: eagle setup docker" : "make Eagle its HTTP proxy: docs/clients.md",
      });
    }
    return findings;
  },
};

function parse(path: string, text: string | undefined): Settings {
  if (text === undefined || text.trim() === "") return {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Settings;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EditError(`${path} is no JSON (${why}); docker would not start with it either. Correct it first`, {
      cause,
    });
  }
  throw new EditError(`${path} holds no JSON object. Correct it first`);
}

function mirrorsOf(path: string, settings: Settings): string[] {
  const value = settings[KEY] ?? [];
  if (Array.isArray(value) && value.every((each) => typeof each === "string")) return value;
  throw new EditError(`${path}: ${KEY} is no list of texts. Correct it first: "${KEY}": ["https://..."]`);
}

function isProxy(mirror: string, proxy: URL): boolean {
  return URL.parse(mirror)?.origin === proxy.origin;
}

function render(settings: Settings, before: string | undefined): string {
  const indent = /^([ \t]+)"/m.exec(before ?? "")?.[1] ?? "  ";
  return `${JSON.stringify(settings, undefined, indent)}\n`;
}

/** The systemd drop-in that makes the proxy dockerd's own. */
async function proxyDropIn(root: string, proxy: URL): Promise<string | undefined> {
  const directory = join(root, "/etc/systemd/system/docker.service.d");
  const names = (await readdir(directory).catch(() => [])).filter((name) => name.endsWith(".conf")).sort();
  for (const name of names) {
    const lines = ((await textOf(join(directory, name))) ?? "").split("\n").filter((line) => !line.startsWith("#"));
    if (lines.some((line) => /HTTPS?_PROXY=/i.test(line) && line.includes(proxy.host))) return join(directory, name);
  }
  return undefined;
}
