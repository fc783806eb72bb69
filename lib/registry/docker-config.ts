/**
 * Credentials as `docker login` and `podman login` leave them: `auths`, `credHelpers` and `credsStore` of a `config.json`.
 * The file is read again when it changes; what helpers say is kept for some minutes.
 * @module
 */
import { readFile, stat } from "node:fs/promises";
import { LRUCache } from "lru-cache";
import { type Logger, silentLogger } from "../log/log.ts";
import type { Credentials } from "./auth.ts";
import { askCredentialHelper, isHelperName } from "./credential-helper.ts";
import { canonicalRegistry } from "./reference.ts";

/** Asks for credentials each time they are needed. Never rejects: who has none goes without. */
export type CredentialSource = () => Promise<Credentials | undefined>;

export interface DockerConfigInit {
  readonly path: string;
  readonly log?: Logger;
  /** @default askCredentialHelper */
  readonly askHelper?: (helper: string, server: string) => Promise<Credentials | undefined>;
  /** How long what a helper said holds, ms. @default 300000 */
  readonly ttlMs?: number;
  /** Monotonic, ms. */
  readonly now?: () => number;
}

/** What a config.json says, as far as it is about credentials. */
interface Parsed {
  readonly auths: ReadonlyMap<string, Credentials>;
  readonly helpers: ReadonlyMap<string, string>;
  readonly store: string | undefined;
}

const MAX_BYTES = 1024 * 1024;
/** The file is looked at for changes at most so often, ms. */
const LOOK_EVERY_MS = 5000;
/** A helper that failed is not asked again for so long, ms. */
const FAILED_MS = 10_000;
/** The name docker keeps Docker Hub's credentials under. */
const HUB_SERVER = "https://index.docker.io/v1/";

/** See the module. Holds nothing that needs closing. */
export class DockerConfig {
  readonly #path: string;
  readonly #log: Logger;
  readonly #askHelper: (helper: string, server: string) => Promise<Credentials | undefined>;
  readonly #ttlMs: number;
  readonly #now: () => number;
  #parsed: Parsed = { auths: new Map(), helpers: new Map(), store: undefined };
  #lookedAt = Number.NEGATIVE_INFINITY;
  #stamp = "";
  #looking: Promise<void> | undefined;
  /** By helper and server. */
  readonly #said = new LRUCache<string, { until: number; credentials: Promise<Credentials | undefined> }>({ max: 512 });

  constructor({
    path,
    log = silentLogger,
    askHelper = askCredentialHelper,
    ttlMs = 300_000,
    now = () => performance.now(),
  }: DockerConfigInit) {
    this.#path = path;
    this.#log = log;
    this.#askHelper = askHelper;
    this.#ttlMs = ttlMs;
    this.#now = now;
  }

  /** @param registry As clients know it: `docker.io`, `quay.io`, `127.0.0.1:5000`. */
  async credentials(registry: string): Promise<Credentials | undefined> {
    await this.#look();
    const name = canonicalRegistry(registry);
    const { auths, helpers, store } = this.#parsed;
    const helper = helpers.get(name) ?? store;
    if (helper !== undefined) {
      const said = await this.#ask(helper, name === "docker.io" ? HUB_SERVER : name);
      if (said) return said;
    }
    return auths.get(name);
  }

  #ask(helper: string, server: string): Promise<Credentials | undefined> {
    const key = `${helper}\n${server}`;
    const known = this.#said.get(key);
    if (known && known.until > this.#now()) return known.credentials;
    const credentials = this.#askHelper(helper, server).catch((error: unknown) => {
      this.#said.set(key, { until: this.#now() + FAILED_MS, credentials: Promise.resolve(undefined) });
      this.#log.warn("a credential helper does not answer: its registry is asked without credentials", {
        helper,
        registry: server,
        error,
      });
      return undefined;
    });
    this.#said.set(key, { until: this.#now() + this.#ttlMs, credentials });
    return credentials;
  }

  /** Reads the file if it is new. */
  async #look(): Promise<void> {
    if (this.#now() - this.#lookedAt < LOOK_EVERY_MS) return await this.#looking;
    this.#lookedAt = this.#now();
    this.#looking = this.#read();
    await this.#looking;
  }

  async #read(): Promise<void> {
    try {
      const { mtimeMs, size, ino } = await stat(this.#path);
      const stamp = `${mtimeMs} ${size} ${ino}`;
      if (stamp === this.#stamp) return;
      if (size > MAX_BYTES) throw new Error(`it is larger than ${MAX_BYTES} bytes`);
      this.#parsed = parseDockerConfig(await readFile(this.#path, "utf8"));
      this.#stamp = stamp;
      this.#said.clear();
    } catch (error) {
      // What it said before still holds: a login that is just being written is no reason to forget the last one.
      this.#log.warn("docker's config.json cannot be read", { path: this.#path, error });
    }
  }
}

/**
 * Reads a config.json. Entries that are about no registry as a whole (podman's `quay.io/team`) or make no sense are left
 * out.
 * @throws Error when it is not a JSON object; the message holds nothing of the file
 */
export function parseDockerConfig(text: string): Parsed {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("it is not JSON");
  }
  if (!isObject(value)) throw new Error("it is not a JSON object");
  const auths = new Map<string, Credentials>();
  const helpers = new Map<string, string>();
  for (const [key, entry] of Object.entries(isObject(value.auths) ? value.auths : {})) {
    const name = registryOf(key);
    const credentials = isObject(entry) ? credentialsOf(entry) : undefined;
    if (name !== undefined && credentials) auths.set(name, credentials);
  }
  for (const [key, helper] of Object.entries(isObject(value.credHelpers) ? value.credHelpers : {})) {
    const name = registryOf(key);
    if (name !== undefined && typeof helper === "string" && isHelperName(helper)) helpers.set(name, helper);
  }
  const { credsStore } = value;
  return { auths, helpers, store: typeof credsStore === "string" && isHelperName(credsStore) ? credsStore : undefined };
}

/** `https://index.docker.io/v1/`, `quay.io`, `https://127.0.0.1:5000/v2/` -> the registry. */
function registryOf(key: string): string | undefined {
  const [, host, path] = /^(?:https?:\/\/)?([^/\s]+)(\/.*)?$/i.exec(key) ?? [];
  if (host === undefined) return undefined;
  return path === undefined || /^\/(?:v[12]\/?)?$/.test(path) ? canonicalRegistry(host) : undefined;
}

function credentialsOf({ auth, username, password, identitytoken }: Record<string, unknown>): Credentials | undefined {
  if (typeof identitytoken === "string" && identitytoken !== "") {
    return { username: "<token>", password: identitytoken };
  }
  if (typeof auth === "string" && auth !== "") {
    const text = Buffer.from(auth, "base64").toString("utf8").replace(/\0+$/, "");
    const colon = text.indexOf(":");
    return colon > 0 ? { username: text.slice(0, colon), password: text.slice(colon + 1) } : undefined;
  }
  if (typeof username !== "string" || typeof password !== "string" || username === "") return undefined;
  return { username, password };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
