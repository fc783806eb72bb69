/**
 * The registries Eagle may talk to, and under which names clients know them.
 * @module
 */
import { readFileSync } from "node:fs";
import { canonicalRegistry } from "./reference.ts";

/** `registries.<host>` of the configuration. */
export interface RegistryConfig {
  /** Where the registry really is: `host[:port]` or an http(s) URL without path. Default: the host itself. */
  upstream?: string;
  /** Without a scheme: http instead of https; also lets the registry name token realms over http. */
  plainHTTP?: boolean;
  /** PEM text, or the path of a PEM file, of the authorities that may sign the registry's certificate. */
  ca?: string;
  /** The user name `<token>` makes the password an identity (refresh) token, as in Docker's credential helpers. */
  username?: string;
  password?: string;
  /** A file that holds the password; one line end at its end is not part of it. */
  passwordFile?: string;
}

/** A registry Eagle may talk to. */
export interface Upstream {
  /** Authority as clients know it: `docker.io`, `127.0.0.1:5000`. */
  readonly name: string;
  /** Scheme and authority to connect to; path `/`. `https://registry-1.docker.io` for docker.io. */
  readonly base: URL;
  /** PEM text. */
  readonly ca?: string;
  readonly credentials?: { readonly username: string; readonly password: string };
  /** The operator chose http for this registry on purpose (`plainHTTP`, or an http:// URL). */
  readonly plainHTTP?: boolean;
}

/** A registry in the configuration that can not be used. */
export class UpstreamError extends Error {
  readonly code: "invalid" | "unreadable";
  constructor(code: "invalid" | "unreadable", message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "UpstreamError";
    this.code = code;
  }
}

const dockerHub = "https://registry-1.docker.io";

/** localhost, 127.0.0.0/8 or ::1, as `URL.hostname` spells them. */
export function isLoopbackHost(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(hostname);
}

/**
 * Finds the {@link Upstream} for what a client asked: by the `ns` parameter of mirrors ({@link byName}) or by an
 * absolute URL ({@link byUrl}). What is found here is allowed, all else is not.
 */
export class Upstreams {
  /** The registry of requests that name none: `origin`, else none. */
  readonly default: Upstream | undefined;
  readonly #byName = new Map<string, Upstream>();
  readonly #byOrigin = new Map<string, Upstream>();

  /**
   * @param init.origin default registry: `host[:port]` or an http(s) URL. Without a scheme: https, except for loopback
   * hosts and those with `plainHTTP`
   * @param init.origins further allowed ones
   * @param init.registries settings by host; a host listed here is allowed, too
   * @throws UpstreamError names the entry and what is wrong; password and CA files are read here
   */
  constructor(init: { origin?: string; origins?: string[]; registries?: Record<string, RegistryConfig> }) {
    const settings = new Map<string, RegistryConfig>();
    for (const [host, config] of Object.entries(init.registries ?? {})) {
      const { name } = parseAuthority(host, `registries.${host}`, false);
      if (settings.has(name)) throw new UpstreamError("invalid", `registries.${host}: ${name} is listed twice`);
      settings.set(name, config);
    }
    this.default = init.origin === undefined ? undefined : this.#add(init.origin, "origin", settings);
    for (const [index, origin] of (init.origins ?? []).entries()) this.#add(origin, `origins[${index}]`, settings);
    for (const host of Object.keys(init.registries ?? {})) this.#add(host, `registries.${host}`, settings);
  }

  /** The registry clients know as `ns` (containerd's `?ns=`, the host of a reference). */
  byName(ns: string): Upstream | undefined {
    return this.#byName.get(canonicalRegistry(ns));
  }

  /** The registry of an absolute URL: scheme and authority must be those of an allowed one; path and query are free. */
  byUrl(url: URL): Upstream | undefined {
    if (url.username !== "" || url.password !== "") return undefined;
    return this.#byOrigin.get(url.origin);
  }

  /** All allowed ones, each once. */
  list(): Upstream[] {
    return [...new Set(this.#byName.values())];
  }

  #add(text: string, key: string, settings: ReadonlyMap<string, RegistryConfig>): Upstream {
    const plain = settings.get(parseAuthority(text, key, false).name)?.plainHTTP ?? false;
    const { name, url } = parseAuthority(text, key, plain);
    const config = settings.get(name) ?? {};
    const known = this.#byName.get(name);
    if (known !== undefined) {
      if (known.base.protocol !== url.protocol && text.includes("://") && config.upstream === undefined) {
        throw new UpstreamError("invalid", `${key}: ${name} is listed with http and with https`);
      }
      return known;
    }
    const base =
      config.upstream !== undefined
        ? parseAuthority(config.upstream, `registries.${name}.upstream`, plain).url
        : name === "docker.io"
          ? new URL(dockerHub)
          : url;
    const ca = readCa(config.ca, name);
    const credentials = readCredentials(config, name);
    const explicit = plain || (config.upstream ?? text).toLowerCase().startsWith("http://");
    const upstream: Upstream = {
      name,
      base,
      ...(ca === undefined ? {} : { ca }),
      ...(credentials === undefined ? {} : { credentials }),
      plainHTTP: explicit && base.protocol === "http:",
    };
    this.#byName.set(name, upstream);
    this.#addOrigin(url.origin, upstream);
    this.#addOrigin(base.origin, upstream);
    if (name === "docker.io") {
      for (const host of ["docker.io", "index.docker.io", "registry-1.docker.io"]) {
        this.#addOrigin(`https://${host}`, upstream);
      }
    }
    return upstream;
  }

  // The first one keeps an address: two names may share one upstream, and a URL can mean only one of them.
  #addOrigin(origin: string, upstream: Upstream): void {
    if (!this.#byOrigin.has(origin)) this.#byOrigin.set(origin, upstream);
  }
}

/** `host[:port]` or URL -> its canonical name, and scheme and authority to connect to. */
function parseAuthority(text: string, key: string, plain: boolean): { name: string; url: URL } {
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

function readCa(ca: string | undefined, name: string): string | undefined {
  if (ca === undefined || ca.includes("-----BEGIN")) return ca;
  return readText(ca, `registries.${name}.ca`);
}

function readCredentials(config: RegistryConfig, name: string): { username: string; password: string } | undefined {
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
