/**
 * @module containerd (Debian's, 1.6) with `hosts.toml`, driven by `ctr`.
 */
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { blobsOf, type PushedImage } from "../image.ts";
import type { Processes } from "../processes.ts";
import type { Rig } from "../rig.ts";
import { type Credentials, type Engine, fileDigest, hexOf, type ProxyRoute, proxyEnv } from "./engine.ts";

/** Which mirror serves which registry. */
export interface ContainerdMirror {
  /** As in references, such as `docker.io`; containerd tells it to the mirror as `ns=`. */
  registry: string;
  mirror: URL;
}

/**
 * Starts a daemon of its own. Needs root; the rig ends it.
 * @param options.proxy - without mirrors. `ctr` asks registries itself, so it is what the variables are for; for CRI they
 * stand in the environment of containerd.
 */
export async function startContainerd(
  rig: Rig,
  {
    mirrors = [],
    proxy,
    name = "containerd",
  }: { mirrors?: readonly ContainerdMirror[]; proxy?: ProxyRoute; name?: string },
): Promise<Engine> {
  const root = rig.path(name);
  const socket = rig.path(`${name}.sock`);
  const hosts = rig.path(`${name}-hosts`);
  for (const { registry, mirror } of mirrors) {
    await mkdir(`${hosts}/${registry}`, { recursive: true });
    const file = `server = "http://127.0.0.1:1"\n\n[host."${mirror.origin}"]\n  capabilities = ["pull", "resolve"]\n`;
    await writeFile(`${hosts}/${registry}/hosts.toml`, file);
  }
  const config = rig.path(`${name}.toml`);
  const lines = [
    "version = 2",
    `root = "${root}"`,
    `state = "${root}-state"`,
    'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.btrfs"]',
    `[grpc]\n  address = "${socket}"`,
    `[plugins."io.containerd.internal.v1.opt"]\n  path = "${root}-opt"`,
  ];
  await writeFile(config, `${lines.join("\n")}\n`);
  const daemon = rig.processes.start("containerd", ["--config", config, "--log-level", "warn"], { name });
  const ctr = (args: string[], timeoutMs?: number, env: Record<string, string> = {}) =>
    rig.processes.run("ctr", ["--address", socket, "--namespace", "rig", ...args], { timeoutMs, env });
  await daemon.ready(async () => (await ctr(["version"])).includes("Server"), { what: "answering" });
  const where = proxy ? (proxy.insecureRegistry === undefined ? [] : ["--plain-http"]) : ["--hosts-dir", hosts];
  const engine = new Containerd(name, root, ctr, async (reference, credentials) => {
    const user = credentials ? ["--user", `${credentials.username}:${credentials.password}`] : [];
    const flags = [...where, ...user, "--platform", "linux/amd64"];
    await ctr(["images", "pull", ...flags, reference], 180_000, proxy ? proxyEnv(proxy) : {});
  });
  return rig.use(Object.assign(engine, { close: async () => void (await daemon.stop()) }));
}

class Containerd {
  readonly name: string;
  readonly pull: (reference: string, credentials?: Credentials) => Promise<void>;
  readonly #root: string;
  readonly #ctr: (args: string[]) => ReturnType<Processes["run"]>;

  constructor(
    name: string,
    root: string,
    ctr: (args: string[]) => Promise<string>,
    pull: (reference: string, credentials?: Credentials) => Promise<void>,
  ) {
    this.name = name;
    this.#root = root;
    this.#ctr = ctr;
    this.pull = pull;
  }

  async verify(reference: string, image: PushedImage): Promise<void> {
    const listed = await this.#ctr(["images", "list", `name==${reference}`]);
    assert.ok(listed.includes(image.manifest.digest), `${listed}\nlacks ${image.manifest.digest}`);
    for (const { digest } of [image.manifest, ...blobsOf(image)]) {
      const file = `${this.#root}/io.containerd.content.v1.content/blobs/sha256/${hexOf(digest)}`;
      assert.equal(await fileDigest(file), digest);
    }
  }

  /**
   * After "unexpected commit digest" containerd keeps the layer that it refused, and the next pull takes it up where it
   * ended: with nothing left to ask for it commits the same bytes once more, in vain. Its garbage collector, which is due
   * once the pull's lease is gone but spends at most 2 % of the time (`pause_threshold`), removes the layer later: within
   * a second here, within a minute where a collection takes a second. A lease deleted with `--sync` has it collect now.
   */
  async dropPartials(): Promise<void> {
    await this.#ctr(["leases", "create", "--id", "collect"]);
    await this.#ctr(["leases", "delete", "--sync", "collect"]);
  }
}
