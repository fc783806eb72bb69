/**
 * `registries`: what is known about single registries: where they are, how to trust them, credentials.
 *
 * @module
 */
import { z } from "zod";
import { parseEndpoint } from "./endpoint.ts";
import { invalid, shown } from "./errors.ts";
import { key, optionalKey, section } from "./keys.ts";
import * as types from "./value-types.ts";

const registryKeys = section({
  upstream: optionalKey(types.origin, {
    about: "Where this registry is really reached, when that is not its name: another host, a local mirror.",
    example: "https://registry-1.docker.io",
  }),
  plainHTTP: key(types.flag, {
    fallback: false,
    about: "Speak HTTP instead of HTTPS to it. Loopback registries are spoken to in HTTP anyway.",
  }),
  ca: optionalKey(types.certificateFile, {
    about: "Certificates that may sign this registry's own, PEM; instead of the system's.",
    example: "/etc/eagle/registry-ca.crt",
  }),
  username: optionalKey(types.userName, { about: "User that Eagle itself pulls as." }),
  password: optionalKey(types.secret, { about: "Password of `username`. A file is safer: `passwordFile`." }),
  passwordFile: optionalKey(types.secretFile, { about: "File with the password of `username`, read at start." }),
}).superRefine(({ username, password, passwordFile }, context) => {
  const add = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
  const word = password ?? passwordFile;
  if (password !== undefined && passwordFile !== undefined) {
    add("passwordFile", "password is given too. Keep one of the two");
  }
  if (username !== undefined && word === undefined) {
    add("passwordFile", "missing, though username is given. For example: passwordFile: /etc/eagle/registry-password");
  }
  if (username === undefined && word !== undefined) {
    add("username", "missing, though a password is given. For example: username: puller");
  }
});

/** With `passwordFile` read, there is one way to hold a password: as `password`. */
const registry = registryKeys.transform(({ passwordFile, password = passwordFile, ...rest }) => ({
  ...rest,
  ...(password === undefined ? {} : { password }),
}));

const registryName = z.string().transform((name, context) => {
  try {
    return checkName(name);
  } catch (error) {
    context.issues.push({
      code: "custom",
      input: name,
      message: error instanceof Error ? error.message : String(error),
    });
    return z.NEVER;
  }
});

/** The section `registries`: one entry a registry, by the name clients know it by. */
export const registriesSection = z.record(registryName, registry);

/** `registries` after loading. */
export type RegistriesConfig = z.output<typeof registriesSection>;

/** What the registry room takes for one registry: PEM text instead of a path, the password read. */
export interface RegistryInit {
  upstream?: string | undefined;
  plainHTTP: boolean;
  ca?: string;
  username?: string | undefined;
  password?: string;
}

/** The loaded section as the registry room takes it. */
export function registryInits(registries: RegistriesConfig): Record<string, RegistryInit> {
  const inits = Object.entries(registries).map(([name, { ca, ...rest }]): [string, RegistryInit] => [
    name,
    ca === undefined ? rest : { ...rest, ca: ca.content },
  ]);
  return Object.fromEntries(inits);
}

function checkName(name: string): string {
  if (name.includes("/"))
    throw invalid(`${shown(name)} is not a registry's name. Expected: host or host:port; for example: docker.io`);
  parseEndpoint(name);
  // One spelling only, else two entries could mean the same registry.
  if (name !== name.toLowerCase()) throw invalid(`write ${shown(name)} in lower case`);
  return name;
}
