/**
 * @module The settings that podman and skopeo share (containers-registries.conf, version 2; containers-policy.json).
 */
import { writeFile } from "node:fs/promises";
import type { Rig } from "../rig.ts";

/** Where names of a registry are pulled from. */
export interface RegistryMirror {
  /** As in references, such as `docker.io`. */
  registry: string;
  mirror: URL;
}

/** Files to hand to the tools. */
export interface ContainersConf {
  registriesFile: string;
  policyFile: string;
}

/** Writes both files. The registry itself is made unreachable, so that only the mirror can have answered. */
export async function writeContainersConf(
  rig: Rig,
  { mirrors, name }: { mirrors: readonly RegistryMirror[]; name: string },
): Promise<ContainersConf> {
  const registriesFile = rig.path(`${name}-registries.conf`);
  const policyFile = rig.path(`${name}-policy.json`);
  const sections = mirrors.map(
    ({ registry, mirror }) =>
      `[[registry]]\nprefix = "${registry}"\nlocation = "127.0.0.1:1"\ninsecure = true\n` +
      `[[registry.mirror]]\nlocation = "${mirror.host}"\ninsecure = true\n`,
  );
  await writeFile(registriesFile, sections.join("\n"));
  await writeFile(policyFile, JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
  return { registriesFile, policyFile };
}
