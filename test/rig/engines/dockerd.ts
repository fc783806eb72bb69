/**
 * @module dockerd (Debian's docker.io, 20.10), driven by its HTTP API on a unix socket, so that no client is needed.
 */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import http from "node:http";
import type { PushedImage } from "../image.ts";
import type { Process } from "../processes.ts";
import type { Rig } from "../rig.ts";
import { type Credentials, type Engine, hexOf, type ProxyRoute, proxyEnv } from "./engine.ts";

/** How the daemon finds Eagle. */
export type DockerdRoute =
  /** `registry-mirrors`: names of Docker Hub only. */
  | { kind: "mirror"; url: URL }
  /** `HTTP_PROXY` and `HTTPS_PROXY`. */
  | ({ kind: "proxy" } & ProxyRoute);

/** Starts a daemon of its own. Needs root; the rig ends it. */
export async function startDockerd(rig: Rig, { route, name = "dockerd" }: { route: DockerdRoute; name?: string }) {
  const root = rig.path(name);
  const config = rig.path(`${name}.json`);
  const socket = rig.path(`${name}.sock`);
  const settings =
    route.kind === "mirror"
      ? { "registry-mirrors": [route.url.href] }
      : { "insecure-registries": route.insecureRegistry === undefined ? [] : [route.insecureRegistry] };
  await writeFile(config, JSON.stringify({ ...settings, "max-download-attempts": 2 }));
  const files = [
    "--config-file",
    config,
    "--pidfile",
    `${root}.pid`,
    "--data-root",
    root,
    "--exec-root",
    `${root}-exec`,
  ];
  const quiet = ["--bridge=none", "--iptables=false", "--ip6tables=false"];
  const daemon = rig.processes.start("dockerd", [...files, ...quiet, "--host", `unix://${socket}`], {
    name,
    env: route.kind === "proxy" ? proxyEnv(route) : {},
  });
  const engine = rig.use(new Dockerd(name, daemon, socket, root));
  await daemon.ready(() => engine.alive(), { what: "answering", timeoutMs: 30_000 });
  return engine;
}

class Dockerd implements Engine {
  readonly name: string;
  readonly #daemon: Process;
  readonly #socket: string;
  readonly #root: string;

  constructor(name: string, daemon: Process, socket: string, root: string) {
    this.name = name;
    this.#daemon = daemon;
    this.#socket = socket;
    this.#root = root;
  }

  async alive(): Promise<boolean> {
    return (await this.#api("GET", "/_ping")).status === 200;
  }

  async pull(reference: string, credentials?: Credentials): Promise<void> {
    const { status, text } = await this.#api(
      "POST",
      `/images/create?fromImage=${encodeURIComponent(reference)}`,
      credentials && { "x-registry-auth": Buffer.from(JSON.stringify(credentials)).toString("base64url") },
    );
    const failure = text.split("\n").find((line) => line.includes('"errorDetail"'));
    if (status === 200 && failure === undefined) return;
    throw new Error(`dockerd cannot pull ${reference}: ${failure ?? text}\n${this.#daemon.output.slice(-2000)}`);
  }

  async verify(reference: string, image: PushedImage): Promise<void> {
    const { status, text } = await this.#api("GET", `/images/${encodeURIComponent(reference)}/json`);
    assert.equal(status, 200, text);
    const stored = JSON.parse(text) as { Id: string; RootFS: { Layers: string[] } };
    assert.equal(stored.Id, image.config.digest, "the image's id is its config's digest");
    assert.deepEqual(
      stored.RootFS.Layers,
      image.layers.map(({ diffId }) => diffId),
      "the tars that dockerd unpacked",
    );
    for (const { digest, diffId } of image.layers) {
      const file = `${this.#root}/image/overlay2/distribution/diffid-by-digest/sha256/${hexOf(digest)}`;
      assert.equal((await readFile(file, "utf8")).trim(), diffId, `the tar inside the blob ${digest}`);
    }
  }

  async close(): Promise<void> {
    await this.#daemon.stop({ graceMs: 15_000 });
  }

  #api(method: string, path: string, headers: Record<string, string> = {}): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const request = http.request({ socketPath: this.#socket, method, path, headers }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk;
        });
        response.once("error", reject);
        response.once("end", () => resolve({ status: response.statusCode ?? 0, text }));
      });
      request.once("error", reject);
      request.end();
    });
  }
}
