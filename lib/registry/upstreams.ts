/**
 * The registries Eagle may talk to, and under which names clients know them.
 * @module
 */
import { LRUCache } from "lru-cache";
import type { Logger } from "../log/log.ts";
import type { Credentials } from "./auth.ts";
import { type CredentialSource, DockerConfig } from "./docker-config.ts";
import { canonicalRegistry, isRegistry, isRepository } from "./reference.ts";
import {
  checkRest,
  DEFAULT_ENTRY,
  isAllowed,
  parseAuthority,
  type RegistryConfig,
  readCa,
  readCredentials,
  UpstreamError,
} from "./registry-config.ts";

export { DEFAULT_ENTRY, isLoopbackHost, type RegistryConfig, UpstreamError } from "./registry-config.ts";

const dockerHub = "https://registry-1.docker.io";

/** A registry Eagle may talk to. */
export interface Upstream {
  /** Authority as clients know it: `docker.io`, `127.0.0.1:5000`. */
  readonly name: string;
  /** Scheme and authority to connect to; path `/`. `https://registry-1.docker.io` for docker.io. */
  readonly base: URL;
  /** PEM text. */
  readonly ca?: string;
  /** What the operator gave for it; a source may have none after all. */
  readonly credentials?: Credentials | CredentialSource;
  /** The operator chose http for this registry on purpose (`plainHTTP`, or an http:// URL). */
  readonly plainHTTP?: boolean;
  /** Asked for blobs and manifests before it, in this order. */
  readonly mirrors?: readonly Mirror[];
}

/** A registry that has what another one has. */
export interface Mirror extends Upstream {
  /** What its repositories have before those of the other; empty, or `name/`. */
  readonly prefix: string;
}

/** Registries known by `_default` alone that are remembered. */
const MAX_OTHERS = 256;

/**
 * Finds the {@link Upstream} for what a client asked: by the `ns` parameter of mirrors ({@link byName}) or by an
 * absolute URL ({@link byUrl}). What is found here is allowed, all else is not.
 */
export class Upstreams {
  /** The registry of requests that name none: `origin`, else none. */
  readonly default: Upstream | undefined;
  readonly #settings = new Map<string, RegistryConfig>();
  readonly #rest: RegistryConfig | undefined;
  readonly #allow: ReadonlySet<string>;
  readonly #byName = new Map<string, Upstream>();
  readonly #byOrigin = new Map<string, Upstream>();
  readonly #others = new LRUCache<string, Upstream>({ max: MAX_OTHERS });
  readonly #dockerConfigs = new Map<string, DockerConfig>();
  readonly #log: Logger | undefined;

  /**
   * @param init.origin default registry: `host[:port]` or an http(s) URL. Without a scheme: https, except for loopback
   * hosts and those with `plainHTTP`
   * @param init.origins further allowed ones
   * @param init.registries settings by host; a host listed here is allowed, too. `_default`: settings of those that are
   * not listed here, and more allowed ones
   * @throws UpstreamError names the entry and what is wrong; password and CA files are read here
   */
  constructor(init: {
    origin?: string | undefined;
    origins?: readonly string[];
    registries?: Record<string, RegistryConfig>;
    log?: Logger;
  }) {
    const { [DEFAULT_ENTRY]: rest, ...registries } = init.registries ?? {};
    this.#log = init.log;
    this.#rest = rest;
    if (rest) checkRest(rest);
    this.#allow = new Set((rest ? (rest.allow ?? ["*"]) : []).map((name) => canonicalRegistry(name)));
    for (const [host, config] of Object.entries(registries)) {
      const { name } = parseAuthority(host, `registries.${host}`, false);
      if (this.#settings.has(name)) throw new UpstreamError("invalid", `registries.${host}: ${name} is listed twice`);
      this.#settings.set(name, config);
    }
    this.default = init.origin === undefined ? undefined : this.#add(init.origin, "origin");
    for (const [index, origin] of (init.origins ?? []).entries()) this.#add(origin, `origins[${index}]`);
    for (const host of Object.keys(registries)) this.#add(host, `registries.${host}`);
  }

  /** The registry clients know as `ns` (containerd's `?ns=`, the host of a reference). */
  byName(ns: string): Upstream | undefined {
    const name = canonicalRegistry(ns);
    return this.#byName.get(name) ?? this.#other(name);
  }

  /** The registry of an absolute URL: scheme and authority must be those of an allowed one; path and query are free. */
  byUrl(url: URL): Upstream | undefined {
    if (url.username !== "" || url.password !== "") return undefined;
    const known = this.#byOrigin.get(url.origin);
    if (known || !this.#rest) return known;
    // A name that has settings of its own is found by those alone.
    const name = canonicalRegistry(url.host);
    const other = this.#byName.has(name) ? undefined : this.#other(name);
    return other && (other.base.origin === url.origin || url.origin === `https://${name}`) ? other : undefined;
  }

  /** All that are listed, each once. */
  list(): Upstream[] {
    return [...new Set(this.#byName.values())];
  }

  #add(text: string, key: string): Upstream {
    const bare = parseAuthority(text, key, false);
    const own = this.#settings.get(bare.name);
    const config = own ?? this.#restFor(text);
    const { name, url } = parseAuthority(text, key, config.plainHTTP ?? false);
    const known = this.#byName.get(name);
    if (known !== undefined) {
      if (known.base.protocol !== url.protocol && text.includes("://") && config.upstream === undefined) {
        throw new UpstreamError("invalid", `${key}: ${name} is listed with http and with https`);
      }
      return known;
    }
    const upstream = this.#make(name, url, config, text);
    this.#byName.set(name, upstream);
    this.#addOrigin(url.origin, upstream);
    this.#addOrigin(upstream.base.origin, upstream);
    if (name === "docker.io") {
      for (const host of ["docker.io", "index.docker.io", "registry-1.docker.io"]) {
        this.#addOrigin(`https://${host}`, upstream);
      }
    }
    return upstream;
  }

  /** What `_default` says about a registry that is named elsewhere. Where it really is, a URL says itself. */
  #restFor(text: string): RegistryConfig {
    const { upstream, allow: _, ...rest } = this.#rest ?? {};
    return upstream === undefined || text.includes("://") ? rest : { ...rest, upstream };
  }

  /** A registry that only `_default` allows. */
  #other(name: string): Upstream | undefined {
    if (!this.#rest || !isRegistry(name) || !isAllowed(name, this.#allow)) return undefined;
    let other = this.#others.get(name);
    if (!other) {
      const config = this.#restFor(name);
      const { url } = parseAuthority(name, DEFAULT_ENTRY, config.plainHTTP ?? false);
      other = this.#make(name, url, config, name);
      this.#others.set(name, other);
    }
    return other;
  }

  #make(name: string, url: URL, config: RegistryConfig, text: string): Upstream {
    const plain = config.plainHTTP ?? false;
    const where = config.upstream?.replaceAll("{host}", name);
    const base =
      where !== undefined
        ? parseAuthority(where, `registries.${name}.upstream`, plain).url
        : name === "docker.io"
          ? new URL(dockerHub)
          : url;
    const mirrors = (config.mirrors ?? []).map((mirror, index) =>
      this.#mirror(mirror, `registries.${name}.mirrors[${index}]`),
    );
    const ca = readCa(config.ca, name);
    const credentials = this.#credentials(name, config, mirrors);
    const isExplicit = plain || (where ?? text).toLowerCase().startsWith("http://");
    return {
      name,
      base,
      ...(ca === undefined ? {} : { ca }),
      ...(credentials === undefined ? {} : { credentials }),
      plainHTTP: isExplicit && base.protocol === "http:",
      ...(mirrors.length === 0 ? {} : { mirrors }),
    };
  }

  /** A mirror has the settings of its own entry, if there is one; it is not thereby allowed to clients. */
  #mirror(text: string, key: string): Mirror {
    const [, place = "", path = ""] = /^((?:[a-z]+:\/\/)?[^/]+)(?:\/(.*))?$/i.exec(text) ?? [];
    const prefix = path.replace(/\/+$/, "");
    if (prefix !== "" && !isRepository(prefix)) {
      throw new UpstreamError("invalid", `${key}: ${JSON.stringify(text)}: its path is not the name of a repository`);
    }
    const { name } = parseAuthority(place, key, false);
    const { mirrors: _, upstream: __, ...config } = this.#settings.get(name) ?? {};
    const { url } = parseAuthority(place, key, config.plainHTTP ?? false);
    return { ...this.#make(name, url, config, place), prefix: prefix === "" ? "" : `${prefix}/` };
  }

  #credentials(
    name: string,
    config: RegistryConfig,
    mirrors: readonly Mirror[],
  ): Credentials | CredentialSource | undefined {
    const inline = readCredentials(config, name);
    if (inline) return inline;
    if (config.dockerConfig !== undefined) {
      const path = config.dockerConfig;
      let file = this.#dockerConfigs.get(path);
      if (!file) {
        file = new DockerConfig({ path, ...(this.#log ? { log: this.#log } : {}) });
        this.#dockerConfigs.set(path, file);
      }
      const found = file;
      return () => found.credentials(name);
    }
    // Where a mirror has credentials, somebody without any is asked for by those.
    return mirrors.some(({ credentials }) => credentials !== undefined) ? async () => undefined : undefined;
  }

  // The first one keeps an address: two names may share one upstream, and a URL can mean only one of them.
  #addOrigin(origin: string, upstream: Upstream): void {
    if (!this.#byOrigin.has(origin)) this.#byOrigin.set(origin, upstream);
  }
}
