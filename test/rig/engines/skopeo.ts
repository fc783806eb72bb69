/**
 * @module skopeo (Debian's, 1.9), which copies an image into an OCI layout where every blob can be hashed.
 */
import type { PushedImage } from "../image.ts";
import type { Rig } from "../rig.ts";
import { loginFlags, type RegistryMirror, writeContainersConf } from "./containers-conf.ts";
import { type Credentials, type Engine, type ProxyRoute, proxyEnv, verifyLayout } from "./engine.ts";

/** Makes a skopeo that pulls through mirrors or a proxy. There is no daemon. */
export async function createSkopeo(
  rig: Rig,
  { mirrors = [], proxy, name = "skopeo" }: { mirrors?: readonly RegistryMirror[]; proxy?: ProxyRoute; name?: string },
): Promise<Engine> {
  const insecureRegistry = proxy?.insecureRegistry;
  const { registriesFile, policyFile } = await writeContainersConf(rig, { mirrors, insecureRegistry, name });
  const env = proxy ? proxyEnv(proxy) : {};
  const layout = (reference: string) => rig.path(`${name}-${reference.replace(/[^a-z0-9]/gi, "-")}`);
  return rig.use({
    name,
    pull: async (reference: string, credentials?: Credentials) => {
      const hosts = [...mirrors.map(({ mirror }) => mirror.host), ...(insecureRegistry ? [insecureRegistry] : [])];
      const user = await loginFlags(rig, { name, hosts, credentials, src: "src-" });
      const flags = ["--registries-conf", registriesFile, "--policy", policyFile, "--tmpdir", rig.dir];
      const copy = [
        "copy",
        "--quiet",
        "--preserve-digests",
        ...user,
        `docker://${reference}`,
        `oci:${layout(reference)}:copy`,
      ];
      await rig.processes.run("skopeo", [...flags, ...copy], { name, env, timeoutMs: 180_000 });
    },
    verify: (reference: string, image: PushedImage) => verifyLayout(layout(reference), image),
    close: async () => {},
  });
}
