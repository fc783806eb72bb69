/**
 * What the configuration says of single registries, checked and read.
 * @module
 */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { canonicalRegistry, isRegistry } from "./reference.ts";

/** `registries.<host>` of the configuration. */
export interface RegistryConfig {
  /**
   * Where the registry really is: `host[:port]` or an http(s) URL without path. Default: the host itself. In `_default`
   * `{host}` in it stands for the registry's name.
   */
  upstream?: string | undefined;
  /** Asked for blobs and manifests first, in this order: `host[:port][/prefix]` or such a URL. */
  mirrors?: readonly string[] | undefined;
  /** Without a scheme: http instead of https; also lets the registry name token realms over http. */
  plainHTTP?: boolean;
  /** PEM text, or the path of a PEM file, of the authorities that may sign the registry's certificate. */
  ca?: string;
  /** The user name `<token>` makes the password an identity (refresh) token, as in Docker's credential helpers. */
  username?: string | undefined;
  password?: string;
  /** A file that holds the password; one line end at its end is not part of it. */
  passwordFile?: string;
  /** A config.json of docker, whose credentials for this registry are used. */
  dockerConfig?: string | undefined;
  /** In `_default` alone: which registries it is for: names, `*.example.com`, `*` (each that has a name with a dot). */
  allow?: readonly string[] | undefined;
}

/** The entry of the configuration for registries that have none of their own. */
export const DEFAULT_ENTRY = "_default";

/** A registry in the configuration that can not be used. */
export class UpstreamError extends Error {
  readonly code: "invalid" | "unreadable";
  constructor(code: "invalid" | "unreadable", message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "UpstreamError";
    this.code = code;
  }
}

/** localhost, 127.0.0.0/8 or ::1, as `URL.hostname` spells them. */
export function isLoopbackHost(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(hostname);
}

/** @throws UpstreamError for what must not stand in `_default` */
export function checkRest({ username, password, passwordFile, upstream, allow = [] }: RegistryConfig): void {
  const key = `registries.${DEFAULT_ENTRY}`;
  if (username !== undefined || password !== undefined || passwordFile !== undefined) {
    throw new UpstreamError("invalid", `${key}: one password for whatever registry a client names; use dockerConfig`);
  }
  if (upstream !== undefined && !upstream.includes("{host}")) {
    throw new UpstreamError(
      "invalid",
      `${key}.upstream: without {host} in it all registries would be one; use mirrors`,
    );
  }
  for (const name of allow) {
    const isPattern = name === "*" || isRegistry(canonicalRegistry(name.replace(/^\*\./, "")));
    if (!isPattern) throw new UpstreamError("invalid", `${key}.allow: ${name} is no registry, "*.example.com" or "*"`);
  }
}

/**
 * Whether `_default` is for a registry.
 * Addresses, loopback and names without a dot are this host's or its neighbours': only those that are named count.
 */
export function isAllowed(name: string, allow: ReadonlySet<string>): boolean {
  if (allow.has(name)) return true;
  const { hostname } = new URL(`https://${name}`);
  if (!hostname.includes(".") || isIP(hostname) !== 0 || hostname.startsWith("[") || hostname.endsWith(".localhost")) {
    return false;
  }
  const labels = hostname.split(".");
  return allow.has("*") || labels.some((_, index) => index > 0 && allow.has(`*.${labels.slice(index).join(".")}`));
}

/** `host[:port]` or URL -> its canonical name, and scheme and authority to connect to. @throws UpstreamError */
export function parseAuthority(text: string, key: string, plain: boolean): { name: string; url: URL } {
  const example = 'expected host[:port] or an http(s) URL without path, for example "registry.example.com:5000"';
  const refuse = (why: string) => new UpstreamError("invalid", `${key}: ${JSON.stringify(text)}: ${why}; ${example}`);
  const hasScheme = text.includes("://");
  // "https://" first: a scheme decides the default port, and http must not swallow ":80" before we know it.
  const probe = URL.parse(hasScheme ? text : `https://${text}`);
  if (probe === null || text.trim() !== text || text === "") throw refuse("not an address");
  if (probe.protocol !== "https:" && probe.protocol !== "http:") throw refuse(`${probe.protocol} is not supported`);
  if (probe.username !== "" || probe.password !== "") throw refuse("credentials belong to registries.<host>.username");
  if (probe.pathname !== "/" || probe.search !== "" || probe.hash !== "") throw refuse("it has a path or query");
  const insecure = !hasScheme && (plain || isLoopbackHost(probe.hostname));
  const url = insecure ? new URL(`http://${text}`) : probe;
  return { name: canonicalRegistry(url.host), url: new URL(url.origin) };
}

/** @returns PEM text. @throws UpstreamError */
export function readCa(ca: string | undefined, name: string): string | undefined {
  if (ca === undefined || ca.includes("-----BEGIN")) return ca;
  return readText(ca, `registries.${name}.ca`);
}

/** Those that stand in the configuration. @throws UpstreamError */
export function readCredentials(
  config: RegistryConfig,
  name: string,
): { username: string; password: string } | undefined {
  const { username, password, passwordFile } = config;
  const key = `registries.${name}`;
  if (password !== undefined && passwordFile !== undefined) {
    throw new UpstreamError("invalid", `${key}: give password or passwordFile, not both`);
  }
  const secret =
    passwordFile === undefined ? password : readText(passwordFile, `${key}.passwordFile`).replace(/\r?\n$/, "");
  if (username === undefined && secret === undefined) return undefined;
  if (username === undefined || username === "" || secret === undefined) {
    throw new UpstreamError("invalid", `${key}: username needs password or passwordFile, and they need it`);
  }
  // RFC 7617: a colon ends the user name.
  if (username.includes(":")) throw new UpstreamError("invalid", `${key}.username: must not contain a colon`);
  return { username, password: secret };
}

function readText(path: string, key: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new UpstreamError("unreadable", `${key}: can not read ${path}`, { cause });
  }
}
