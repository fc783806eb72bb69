/**
 * `proxyCfg.intercept`: registries whose HTTPS this proxy answers itself, and the authority it does so with.
 *
 * @module
 */
import type { z } from "zod";
import { registryNames } from "../registry/names.ts";
import { canonicalRegistry } from "../registry/reference.ts";
import { Issuer } from "../tls/certificate.ts";
import { parseEndpoint } from "./endpoint.ts";
import { invalid, shown } from "./errors.ts";
import { key, optionalKey } from "./keys.ts";
import type { RegistriesConfig } from "./registries.ts";
import type { TextFile } from "./text-file.ts";
import * as types from "./value-types.ts";

/** A registry by the name clients know it by. */
const registryName: types.ValueType<string> = {
  kind: "registry: host or host:port",
  example: "registry.example.com:5000",
  parse(value) {
    if (String(value).includes("/")) throw invalid(`${shown(value)} is not a host or host:port`);
    parseEndpoint(value, { scheme: "https" });
    return canonicalRegistry(String(value));
  },
};

/** The keys. */
export function interceptKeys() {
  return {
    intercept: key(types.listOf(registryName), {
      fallback: [],
      about:
        "Registries whose HTTPS this proxy answers itself when an engine uses it as HTTPS proxy, so that their blobs go " +
        "peer to peer; the others' connections are passed on unread. Each must be among `origin`, `origins` and " +
        "`registries`, and the engine must trust `interceptCertFile`.",
      example: "[registry.example.com]",
    }),
    interceptCertFile: optionalKey(types.certificateFile, {
      about: "Certificate of the authority that signs for the registries of `intercept`, PEM; `eagle ca` makes one.",
      example: "/etc/eagle/intercept-ca.crt",
    }),
    interceptKeyFile: optionalKey(types.keyFile, {
      about:
        "Private key of `interceptCertFile`, PEM. Who has it can pose as any registry to the engines that trust it.",
      example: "/etc/eagle/intercept-ca.key",
    }),
  };
}

interface Intercept {
  readonly intercept: readonly string[];
  readonly interceptCertFile?: TextFile | undefined;
  readonly interceptKeyFile?: TextFile | undefined;
}

/** Refuses registries without an authority, half an authority, and one that cannot sign. */
export function checkInterceptFiles(
  { intercept, interceptCertFile: cert, interceptKeyFile: privateKey }: Intercept,
  context: z.RefinementCtx,
): void {
  const add = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
  const wanted = intercept.length > 0 ? "intercept" : cert ? "interceptCertFile" : "interceptKeyFile";
  if (intercept.length === 0 && !cert && !privateKey) return;
  if (!cert) add("interceptCertFile", `missing, though ${wanted} is given. Make one: eagle ca`);
  if (!privateKey) add("interceptKeyFile", `missing, though ${wanted} is given. Make one: eagle ca`);
  if (!cert || !privateKey) return;
  try {
    new Issuer({ cert: cert.content, key: privateKey.content });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    add("interceptCertFile", `${cert.path} with ${privateKey.path} cannot sign: ${why}. Make an authority: eagle ca`);
  }
}

/** Refuses registries that this proxy does not know, or speaks plain HTTP to. */
export function checkIntercept(
  { intercept, origin, origins }: Intercept & { origin?: string | undefined; origins: readonly string[] },
  registries: RegistriesConfig,
  context: z.RefinementCtx,
): void {
  const plain = (text: string) => text.startsWith("http://");
  const known = registryNames({
    origin: origin === undefined || plain(origin) ? undefined : origin,
    origins: origins.filter((name) => !plain(name)),
    others: Object.keys(registries),
  });
  const path = ["proxyCfg", "intercept"];
  for (const name of intercept) {
    if (!known.includes(name)) {
      const message = `${name} is not among origin, origins and registries (with HTTPS). Expected: one of ${known.join(", ") || "them"}`;
      context.addIssue({ code: "custom", path, message });
    } else if (registries[name]?.plainHTTP === true) {
      const message = `${name} is spoken to by plain HTTP (registries.${name}.plainHTTP): there is no HTTPS to answer`;
      context.addIssue({ code: "custom", path, message });
    }
  }
}
