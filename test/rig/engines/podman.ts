/**
 * @module podman (Debian's, 4.3), with a store of its own.
 */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import type { PushedImage } from "../image.ts";
import type { Rig } from "../rig.ts";
import { loginFlags, type RegistryMirror, writeContainersConf } from "./containers-conf.ts";
import { type Credentials, type Engine, hexOf, type ProxyRoute, proxyEnv } from "./engine.ts";

/** Makes a podman that pulls through mirrors or a proxy. Needs root; there is no daemon. */
export async function createPodman(
  rig: Rig,
  { mirrors = [], proxy, name = "podman" }: { mirrors?: readonly RegistryMirror[]; proxy?: ProxyRoute; name?: string },
): Promise<Engine> {
  const insecureRegistry = proxy?.insecureRegistry;
  const { registriesFile, policyFile } = await writeContainersConf(rig, { mirrors, insecureRegistry, name });
  const root = rig.path(name);
  const storageFile = rig.path(`${name}-storage.conf`);
  const storage = { driver: "overlay", graphroot: root, runroot: `${root}-run` };
  const lines = Object.entries(storage).map(([key, value]) => `${key} = "${value}"`);
  await writeFile(storageFile, `[storage]\n${lines.join("\n")}\n`);
  const env = {
    CONTAINERS_REGISTRIES_CONF: registriesFile,
    CONTAINERS_STORAGE_CONF: storageFile,
    ...(proxy ? proxyEnv(proxy) : {}),
  };
  const podman = (args: string[]) => rig.processes.run("podman", args, { env, name, timeoutMs: 180_000 });
  return rig.use({
    name,
    pull: async (reference: string, credentials?: Credentials) => {
      const hosts = [...mirrors.map(({ mirror }) => mirror.host), ...(insecureRegistry ? [insecureRegistry] : [])];
      const user = await loginFlags(rig, { name, hosts, credentials });
      await podman(["pull", "--quiet", "--signature-policy", policyFile, ...user, reference]);
    },
    verify: async (reference: string, image: PushedImage) => {
      const output = await podman(["image", "inspect", reference]);
      const [stored] = JSON.parse(output.slice(output.indexOf("["))) as { Id: string; RootFS: { Layers: string[] } }[];
      assert.equal(stored?.Id, hexOf(image.config.digest), "the image's id is its config's digest");
      assert.deepEqual(
        stored?.RootFS.Layers,
        image.layers.map(({ diffId }) => diffId),
        "the tars that podman unpacked",
      );
      const listed = JSON.parse(await readFile(`${root}/overlay-layers/layers.json`, "utf8")) as StoredLayer[];
      assert.deepEqual(
        listed.map((layer) => layer["compressed-diff-digest"]).sort(),
        image.layers.map(({ digest }) => digest).sort(),
        "the blobs that podman stored",
      );
    },
    close: async () => {
      await podman(["rmi", "--all", "--force"]);
    },
  });
}

interface StoredLayer {
  "compressed-diff-digest"?: string;
}
