/**
 * @module The settings that podman and skopeo share (containers-registries.conf, version 2; containers-policy.json).
 */
import { writeFile } from "node:fs/promises";
import type { Rig } from "../rig.ts";
import type { Credentials } from "./engine.ts";

/** Where names of a registry are pulled from. */
export interface RegistryMirror {
  /** As in references, such as `docker.io`. */
  registry: string;
  /** Its path stands before the names of repositories. */
  mirror: URL;
}

/** Files to hand to the tools. */
export interface ContainersConf {
  registriesFile: string;
  policyFile: string;
}

/**
 * Writes both files. The registry itself is made unreachable, so that only the mirror can have answered.
 * @param init.insecureRegistry - a registry without mirror that is spoken to without TLS.
 */
export async function writeContainersConf(
  rig: Rig,
  {
    mirrors,
    insecureRegistry,
    name,
  }: { mirrors: readonly RegistryMirror[]; insecureRegistry?: string | undefined; name: string },
): Promise<ContainersConf> {
  const registriesFile = rig.path(`${name}-registries.conf`);
  const policyFile = rig.path(`${name}-policy.json`);
  const sections = mirrors.map(
    ({ registry, mirror }) =>
      `[[registry]]\nprefix = "${registry}"\nlocation = "127.0.0.1:1"\ninsecure = true\n` +
      `[[registry.mirror]]\nlocation = "${mirror.host}${mirror.pathname.replace(/\/$/, "")}"\ninsecure = true\n`,
  );
  if (insecureRegistry !== undefined)
    sections.push(`[[registry]]\nlocation = "${insecureRegistry}"\ninsecure = true\n`);
  await writeFile(registriesFile, sections.join("\n"));
  await writeFile(policyFile, JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
  return { registriesFile, policyFile };
}

/**
 * Writes what `podman login` would: credentials go to the host that they are stored for, and a mirror is another host
 * than the registry.
 * @returns flags for podman and, with `src`, skopeo.
 */
export async function loginFlags(rig: Rig, { name, hosts, credentials, src = "" }: LoginInit): Promise<string[]> {
  if (!credentials) return [];
  const file = rig.path(`${name}-auth.json`);
  const auth = Buffer.from(`${credentials.username}:${credentials.password}`).toString("base64");
  await writeFile(file, JSON.stringify({ auths: Object.fromEntries(hosts.map((host) => [host, { auth }])) }));
  return [`--${src}authfile`, file];
}

/** See `loginFlags`. */
export interface LoginInit {
  name: string;
  hosts: readonly string[];
  credentials: Credentials | undefined;
  src?: "src-" | "";
}
