/**
 * @module A real registry (Debian's docker-registry, Distribution 2.8) as the origin of a test.
 */
import { writeFile } from "node:fs/promises";
import { stringify } from "yaml";
import { freePort } from "./ports.ts";
import type { Process } from "./processes.ts";
import type { Rig } from "./rig.ts";

/** Who may use the registry. */
export type RegistryAuth =
  | { kind: "none" }
  /** HTTP Basic; `htpasswd` of apache2-utils makes the file. */
  | { kind: "htpasswd"; users: Record<string, string> }
  /** Tokens of a token server, see token-server.ts. */
  | { kind: "token"; realm: URL; service: string; issuer: string; certificateFile: string };

/** A running registry. The rig ends it. */
export interface Registry {
  url: URL;
  process: Process;
}

/** Starts a registry with its storage in the rig's directory. Who calls it needs the tool `docker-registry`. */
export async function startRegistry(
  rig: Rig,
  { auth = { kind: "none" }, name = "registry" }: { auth?: RegistryAuth; name?: string } = {},
): Promise<Registry> {
  const port = await freePort();
  const config = {
    version: "0.1",
    log: { level: "warn", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: rig.path(`${name}-storage`) }, delete: { enabled: true } },
    http: { addr: `127.0.0.1:${port}`, secret: "rig" },
    ...(await authSection(rig, name, auth)),
  };
  const file = rig.path(`${name}.yml`);
  await writeFile(file, stringify(config));
  const process = rig.processes.start("docker-registry", ["serve", file], { name });
  await process.listening(port);
  return { url: new URL(`http://127.0.0.1:${port}`), process };
}

async function authSection(rig: Rig, name: string, auth: RegistryAuth): Promise<object> {
  switch (auth.kind) {
    case "none":
      return {};
    case "htpasswd": {
      const file = rig.path(`${name}.htpasswd`);
      await writeFile(file, "");
      for (const [user, password] of Object.entries(auth.users)) {
        await rig.processes.run("htpasswd", ["-bB", "-C", "4", file, user, password]);
      }
      return { auth: { htpasswd: { realm: "rig", path: file } } };
    }
    case "token": {
      const { service, issuer } = auth;
      return { auth: { token: { realm: auth.realm.href, service, issuer, rootcertbundle: auth.certificateFile } } };
    }
  }
}
