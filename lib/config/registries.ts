/**
 * `registries`: what is known about single registries: where they are, how to trust them, credentials.
 *
 * @module
 */
import { z } from "zod";
import { DEFAULT_ENTRY } from "../registry/registry-config.ts";
import { parseEndpoint } from "./endpoint.ts";
import { invalid, shown } from "./errors.ts";
import { key, optionalKey, section } from "./keys.ts";
import * as types from "./value-types.ts";

const registryKeys = section({
  upstream: optionalKey(types.upstream, {
    about:
      "Where this registry is really reached, when that is not its name. In `_default`: with `{host}` in it, which stands " +
      "for the registry's name.",
    example: "https://registry-1.docker.io",
  }),
  mirrors: optionalKey(types.listOf(types.mirror), {
    about:
      "Asked for blobs and manifests before this registry, in order; one that cannot be reached or answers with an error " +
      "is passed over. Named `?ns=` as containerd does. A path is put before the repository. Credentials of callers and " +
      "of this registry are not sent there; a mirror's own stand in its own entry.",
    example: "[mirror.example.com, 'https://harbor.example.com/hub']",
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
  usernameEnv: optionalKey(types.environmentUser, { about: "Environment variable with that user, instead." }),
  password: optionalKey(types.secret, { about: "Password of `username`. A file is safer: `passwordFile`." }),
  passwordFile: optionalKey(types.secretFile, { about: "File with the password of `username`, read at start." }),
  passwordEnv: optionalKey(types.environmentSecret, {
    about: "Environment variable with the password of `username`, read at start.",
  }),
  dockerConfig: optionalKey(types.dockerConfigFile, {
    about:
      "A config.json as `docker login` writes it: its credentials for this registry are used (`auths`, `credHelpers`, " +
      "`credsStore`). Read again when it changes.",
  }),
  allow: optionalKey(types.listOf(types.registryPattern), {
    about:
      "In `_default` alone: which registries without an entry may be asked. Not given, or `*`: every one whose name has a " +
      "dot; addresses and other names have to be written out.",
    example: "[quay.io, '*.example.com']",
  }),
}).superRefine((registry, context) => {
  const add = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
  const [user] = onlyOne(registry, ["username", "usernameEnv"], add);
  const [word] = onlyOne(registry, ["password", "passwordFile", "passwordEnv"], add);
  if (user !== undefined && word === undefined) {
    add("passwordFile", `missing, though ${user} is given. For example: passwordFile: /etc/eagle/registry-password`);
  }
  if (user === undefined && word !== undefined) {
    add("username", "missing, though a password is given. For example: username: puller");
  }
  if ((user ?? word) !== undefined && registry.dockerConfig !== undefined) {
    add("dockerConfig", `${user ?? word} is given too. Keep one way`);
  }
});

/** Which of some keys are given. More than one is told. */
function onlyOne<K extends string>(
  values: Readonly<Partial<Record<K, unknown>>>,
  keys: readonly K[],
  add: (path: string, message: string) => void,
): K[] {
  const given = keys.filter((key) => values[key] !== undefined);
  if (given.length > 1) add(given.at(-1)!, `${given[0]} is given too. Keep one of the two`);
  return given;
}

/** With files and the environment read, there is one way to hold user and password. */
const registry = registryKeys.transform(
  ({
    usernameEnv,
    username = usernameEnv,
    passwordFile,
    passwordEnv,
    password = passwordFile ?? passwordEnv,
    ...rest
  }) => ({
    ...rest,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  }),
);

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

/**
 * The section `registries`: one entry a registry, by the name clients know it by; `_default` for those that have none.
 */
export const registriesSection = z.record(registryName, registry).superRefine((registries, context) => {
  for (const [name, { allow, upstream, username }] of Object.entries(registries)) {
    const add = (path: string, message: string) => context.addIssue({ code: "custom", path: [name, path], message });
    const isTemplate = upstream?.includes("{host}") === true;
    if (name !== DEFAULT_ENTRY) {
      if (allow !== undefined) add("allow", `belongs into ${DEFAULT_ENTRY}: ${name} is allowed by being named`);
      if (isTemplate) add("upstream", `{host} belongs into ${DEFAULT_ENTRY}: write the host itself`);
      continue;
    }
    if (upstream !== undefined && !isTemplate) {
      add("upstream", "without {host} all registries would be one. Expected: for example https://{host}, or mirrors");
    }
    if (username !== undefined) {
      add("username", "one password would be sent to whatever registry a client names. Expected: dockerConfig");
    }
  }
});

/** `registries` after loading. */
export type RegistriesConfig = z.output<typeof registriesSection>;

/** What the registry room takes for one registry: PEM text instead of a path, the password read. */
export interface RegistryInit {
  upstream?: string | undefined;
  mirrors?: string[] | undefined;
  plainHTTP: boolean;
  ca?: string;
  username?: string | undefined;
  password?: string;
  dockerConfig?: string | undefined;
  allow?: string[] | undefined;
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
  if (name === DEFAULT_ENTRY) return name;
  if (name.startsWith("_")) throw invalid(`${shown(name)} is no registry's name. Did you mean ${DEFAULT_ENTRY}?`);
  if (name.includes("/"))
    throw invalid(`${shown(name)} is not a registry's name. Expected: host or host:port; for example: docker.io`);
  parseEndpoint(name);
  // One spelling only, else two entries could mean the same registry.
  if (name !== name.toLowerCase()) throw invalid(`write ${shown(name)} in lower case`);
  return name;
}
