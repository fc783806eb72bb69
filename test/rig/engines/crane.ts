/**
 * @module crane (go-containerregistry), which knows no mirrors: it pulls from the proxy by its address, or through it as
 * HTTP proxy.
 */
import { mkdir, writeFile } from "node:fs/promises";
import type { PushedImage } from "../image.ts";
import type { Rig } from "../rig.ts";
import { type Credentials, type Engine, type ProxyRoute, proxyEnv, verifyLayout } from "./engine.ts";

/** Makes a crane. There is no daemon. @param options.path - the program */
export async function createCrane(
  rig: Rig,
  { path, proxy, name = "crane" }: { path: string; proxy?: ProxyRoute; name?: string },
): Promise<Engine> {
  const config = rig.path(`${name}-config`);
  await mkdir(config);
  const layout = (reference: string) => rig.path(`${name}-${reference.replace(/[^a-z0-9]/gi, "-")}`);
  return rig.use({
    name,
    pull: async (reference: string, credentials?: Credentials) => {
      const [registry = ""] = reference.split("/");
      const auth = credentials && Buffer.from(`${credentials.username}:${credentials.password}`).toString("base64");
      await writeFile(`${config}/config.json`, JSON.stringify({ auths: auth ? { [registry]: { auth } } : {} }));
      const env = { DOCKER_CONFIG: config, ...(proxy ? proxyEnv(proxy) : {}) };
      const insecure = proxy?.caFile === undefined ? ["--insecure"] : [];
      await rig.processes.run(path, ["pull", ...insecure, "--format", "oci", reference, layout(reference)], {
        name,
        env,
      });
    },
    verify: (reference: string, image: PushedImage) => verifyLayout(layout(reference), image),
    close: async () => {},
  });
}
