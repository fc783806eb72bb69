/** @module Configurations of engines: written without loss, and put back to the byte. */
import assert from "node:assert/strict";
import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { tempDirectory } from "../testing/temp-directory.ts";
import { containerd } from "./containerd.ts";
import { renderDiff } from "./diff.ts";
import { docker } from "./docker.ts";
import { apply, changes } from "./edit.ts";
import type { Engine, EngineSettings } from "./engine.ts";
import { podman } from "./podman.ts";
import { stringIn, tablesOf } from "./toml-lines.ts";

const proxy = new URL("http://127.0.0.1:43002");
const daemonJson = "/etc/docker/daemon.json";
const configToml = "/etc/containerd/config.toml";
const hubHosts = "/etc/containerd/certs.d/docker.io/hosts.toml";
const registriesConf = "/etc/containers/registries.conf";
const ownConf = "/etc/containers/registries.conf.d/eagle.conf";

/** A root with files; `run` gets what reads and writes there. */
async function withRoot(
  files: Readonly<Record<string, string>>,
  run: (at: {
    settings: EngineSettings;
    set(engine: Engine, over?: Partial<EngineSettings>): Promise<number>;
    undo(engine: Engine): Promise<number>;
    text(path: string): Promise<string | undefined>;
    all(): Promise<string[]>;
    root: string;
  }) => Promise<void>,
): Promise<void> {
  await using directory = await tempDirectory();
  const root = directory.path;
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  const settings = { root, proxy, registries: ["docker.io"] };
  await run({
    root,
    settings,
    async set(engine, over = {}) {
      const { edits } = await engine.plan({ ...settings, ...over });
      await apply(edits);
      return edits.filter(changes).length;
    },
    async undo(engine) {
      const { edits } = await engine.planUndo(settings);
      await apply(edits, { undo: true });
      return edits.filter(changes).length;
    },
    text: (path) => readFile(join(root, path), "utf8").catch(() => undefined),
    all: async () =>
      (await readdir(root, { recursive: true, withFileTypes: true }))
        .filter((entry) => !entry.isDirectory())
        .map((entry) => `${entry.parentPath.slice(root.length)}/${entry.name}`)
        .sort(),
  });
}

/** Sets up twice and undoes: the second time changes nothing, the files are as before. */
async function roundTrip(engine: Engine, files: Readonly<Record<string, string>>, over: Partial<EngineSettings> = {}) {
  await withRoot(files, async ({ set, undo, text, all }) => {
    assert.ok((await set(engine, over)) > 0);
    assert.equal(await set(engine, over), 0, "a second time there is nothing to do");
    assert.ok((await undo(engine)) > 0);
    assert.deepEqual(await all(), Object.keys(files).sort());
    for (const [path, before] of Object.entries(files)) assert.equal(await text(path), before);
    assert.equal(await undo(engine), 0);
  });
}

test("docker: a mirror before the others, all else kept", async () => {
  const before = '{\n    "log-driver": "journald",\n    "registry-mirrors": ["https://old.example"]\n}';
  await withRoot({ [daemonJson]: before }, async ({ set, text, root }) => {
    await chmod(join(root, daemonJson), 0o600);
    await set(docker);
    const after = await text(daemonJson);
    assert.deepEqual(JSON.parse(after!), {
      "log-driver": "journald",
      "registry-mirrors": ["http://127.0.0.1:43002", "https://old.example"],
    });
    assert.match(after!, /^ {4}"log-driver"/m);
    assert.equal(await text(`${daemonJson}.eagle-backup`), before);
    assert.equal((await stat(join(root, daemonJson))).mode & 0o777, 0o600);
  });
  for (const text of [before, "{}", '{ "registry-mirrors": [] }', '{"debug":true}']) {
    await roundTrip(docker, { [daemonJson]: text });
  }
  await roundTrip(docker, {});
});

test("docker: changed by others meanwhile, only the mirror goes", async () => {
  await withRoot({ [daemonJson]: '{"debug":true}' }, async ({ set, undo, text, root }) => {
    await set(docker);
    const changed = { ...JSON.parse((await text(daemonJson))!), debug: false };
    await writeFile(join(root, daemonJson), JSON.stringify(changed));
    await undo(docker);
    assert.deepEqual(JSON.parse((await text(daemonJson))!), { debug: false });
  });
});

test("docker: what is no JSON, or no list, is left alone", async () => {
  for (const text of ["{", "[]", '{"registry-mirrors": "x"}']) {
    await withRoot({ [daemonJson]: text }, async ({ set }) => {
      await assert.rejects(set(docker), { name: "EditError", message: /Correct it first/ });
    });
  }
});

test("docker: other registries are told of, not written", async () => {
  await withRoot({}, async ({ settings }) => {
    const { edits, notes } = await docker.plan({ ...settings, registries: ["quay.io"] });
    assert.equal(edits.filter(changes).length, 0);
    assert.match(notes.join("\n"), /mirrors Docker Hub alone.*quay\.io/);
  });
});

test("a link is followed, not replaced", async () => {
  await withRoot({ "/real/daemon.json": '{"debug":true}' }, async ({ set, undo, text, root }) => {
    await mkdir(join(root, "/etc/docker"), { recursive: true });
    await symlink("../../real/daemon.json", join(root, daemonJson));
    await set(docker);
    assert.ok((await text("/real/daemon.json"))?.includes("43002"));
    await undo(docker);
    assert.equal(await text("/real/daemon.json"), '{"debug":true}');
  });
});

const debianConfig = `version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "registry.k8s.io/pause:3.6"
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
`;
const defaultConfig = `${debianConfig}
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = ""

      [plugins."io.containerd.grpc.v1.cri".registry.mirrors]

  [plugins."io.containerd.internal.v1.opt"]
    path = "/opt/containerd"
`;

test("containerd: config_path and a host before the others", async () => {
  const hosts = 'server = "https://registry-1.docker.io"\n\n[host."https://old.example"]\n  capabilities = ["pull"]\n';
  await withRoot({ [configToml]: defaultConfig, [hubHosts]: hosts }, async ({ set, text }) => {
    await set(containerd);
    const config = await text(configToml);
    assert.match(config!, /^ {6}config_path = "\/etc\/containerd\/certs\.d" # eagle: was config_path = ""$/m);
    assert.ok(config!.includes('path = "/opt/containerd"'));
    const after = (await text(hubHosts))!;
    assert.deepEqual(
      tablesOf(after).map(({ path }) => path.join(" ")),
      ["", "host http://127.0.0.1:43002", "host https://old.example"],
    );
    assert.ok(after.startsWith('server = "https://registry-1.docker.io"\n'));
  });
  const version3 = 'version = 3\n[plugins."io.containerd.cri.v1.images"]\n  snapshotter = "overlayfs"\n';
  for (const text of [debianConfig, defaultConfig, version3, 'version = 2\n\ndisabled_plugins = ["x"]']) {
    await roundTrip(containerd, { [configToml]: text }, { registries: ["docker.io", "quay.io", "r.example:5000"] });
    await roundTrip(containerd, { [configToml]: text, [hubHosts]: hosts });
  }
  await roundTrip(containerd, {});
});

test("containerd: its own config_path is used", async () => {
  const config =
    'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/opt/certs:/etc/docker/certs.d"\n';
  await withRoot({ [configToml]: config }, async ({ set, all, text }) => {
    await set(containerd);
    assert.deepEqual(await all(), [configToml, "/opt/certs/docker.io/hosts.toml"]);
    assert.equal(await text(configToml), config);
  });
  await roundTrip(containerd, { [configToml]: config });
});

test("containerd: what would break it is refused", async () => {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  for (const [text, message] of [
    ['[plugins.cri.registry]\nconfig_path = ""\n', /version 1/],
    [`version = 2\n[${cri}.registry.mirrors."docker.io"]\nendpoint = ["https://m"]\n`, /registry\.mirrors/],
    [`version = 2\n[${cri}]\nregistry = { config_path = "/x" }\n`, /by hand/],
    [`version = 2\n${cri}.registry.config_path = "/x"\n`, /by hand/],
  ] as const) {
    await withRoot({ [configToml]: text }, async ({ set }) => {
      await assert.rejects(set(containerd), { name: "EditError", message });
    });
  }
});

test("podman: a drop-in, or a mirror in the entry that is there", async () => {
  const conf = 'unqualified-search-registries = ["docker.io"]\n';
  await withRoot({ [registriesConf]: conf }, async ({ set, text }) => {
    await set(podman, { registries: ["docker.io", "quay.io"] });
    assert.equal(await text(registriesConf), conf);
    const own = (await text(ownConf))!;
    assert.match(
      own,
      /prefix = "docker\.io"\nlocation = "docker\.io"\n\[\[registry\.mirror\]\]\nlocation = "127\.0\.0\.1:43002"\ninsecure = true/,
    );
    assert.match(own, /prefix = "quay\.io"/);
  });
  const entry = `${conf}
[[registry]]
location = "docker.io"
blocked = false

[[registry.mirror]]
location = "old.example"

[[registry]]
prefix = "*.internal"
location = "other.example"
`;
  await withRoot({ [registriesConf]: entry }, async ({ set, text, all }) => {
    await set(podman);
    assert.deepEqual(await all(), [registriesConf, `${registriesConf}.eagle-backup`]);
    const after = (await text(registriesConf))!;
    assert.deepEqual(
      tablesOf(after).map((table) => stringIn(after, table, "location")),
      [undefined, "docker.io", "127.0.0.1:43002", "old.example", "other.example"],
    );
  });
  const roots: Record<string, string>[] = [{ [registriesConf]: entry }, { [registriesConf]: conf }, {}];
  for (const files of [...roots, { [registriesConf]: "" }]) {
    await roundTrip(podman, files, { registries: ["docker.io", "quay.io"] });
  }
});

test("what is found in the files", async () => {
  await withRoot({ [daemonJson]: "{}" }, async ({ set, settings }) => {
    const statuses = async (defaultRegistry: string | undefined) =>
      Promise.all(
        [docker, containerd, podman].map(async (engine) =>
          (await engine.inspect(settings, { defaultRegistry })).map(({ status }) => status).join(),
        ),
      );
    assert.deepEqual(await statuses("docker.io"), ["warn", "warn,warn", "warn"]);
    for (const engine of [docker, containerd, podman]) await set(engine);
    assert.deepEqual(await statuses("docker.io"), ["ok", "ok", "ok"]);
    assert.deepEqual(await statuses("quay.io"), ["fail", "ok", "ok"]);
  });
});

test("TOML: headers in strings and lists are none", () => {
  const text = `a = [
  ["x"],
  [1]
]
b = """
[no.table]
"""
c = 'it is [not]' # [comment]
[real."a.b"] # comment
d = "x"
[[list.'of.it']]
`;
  assert.deepEqual(
    tablesOf(text).map(({ path, isArray }) => [path, isArray]),
    [
      [[], false],
      [["real", "a.b"], false],
      [["list", "of.it"], true],
    ],
  );
});

test("a diff shows what changes, and a little around it", () => {
  const before = Array.from({ length: 20 }, (_, at) => `line ${at}`).join("\n");
  const after = before.replace("line 10\n", "line ten\nand more\n");
  assert.equal(
    renderDiff({ path: "/f", before, after }),
    "--- /f\n+++ /f\n ...\n line 8\n line 9\n-line 10\n+line ten\n+and more\n line 11\n line 12\n ...\n",
  );
  assert.equal(renderDiff({ path: "/f", before: undefined, after: "a\n" }), "--- /dev/null\n+++ /f\n+a\n");
});
