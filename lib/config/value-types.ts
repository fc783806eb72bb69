/**
 * The kinds of values a key may have: what a person reads about them, an example, and the check.
 *
 * @module
 */
import { parseDockerConfig } from "../registry/docker-config.ts";
import { canonicalRegistry, isRegistry, isRepository } from "../registry/reference.ts";
import { parseAllowClients } from "./allow-clients.ts";
import { parseDuration } from "./duration.ts";
import { parseEndpoint, parseHost, parseOrigin } from "./endpoint.ts";
import { invalid, shown } from "./errors.ts";
import { parseMinFree } from "./min-free.ts";
import { parseSize } from "./size.ts";
import { readTextFile, type TextFile } from "./text-file.ts";

/** One kind of value. */
export interface ValueType<T> {
  /** What it is, to be read after "expected". */
  readonly kind: string;
  /** A right value, as it stands in YAML. */
  readonly example: string;
  /** Checks and converts. @throws ConfigError saying what is wrong with the value. */
  parse(value: unknown): T;
}

/** The most entries a list may have. */
const maxList = 256;

/** `true` or `false`, nothing that only looks like it. */
export const flag: ValueType<boolean> = {
  kind: "true or false",
  example: "true",
  parse(value) {
    if (typeof value !== "boolean") throw invalid(`${shown(value)} is not true or false`);
    return value;
  },
};

/** A port to listen at; 0 lets the system choose a free one. */
export const listenPort = wholeNumber({ kind: "port, 0 to 65535 (0: any free one)", example: "43002", max: 65535 });

/** A port to connect to. */
export const connectPort = wholeNumber({ kind: "port, 1 to 65535", example: "443", min: 1, max: 65535 });

/** Bytes; see size.ts. */
export const size: ValueType<number> = {
  kind: "size: bytes, or a number with K, M, G or T (powers of 1024)",
  example: "100G",
  parse: parseSize,
};

/** A size that has room for something. */
export const room: ValueType<number> = {
  ...size,
  parse(value) {
    const bytes = parseSize(value);
    if (bytes === 0) throw invalid("0 leaves no room for a single blob");
    return bytes;
  },
};

/** Seconds, written with their unit. */
export const duration: ValueType<number> = {
  kind: "duration: a whole number with s, m, h or d",
  example: "30d",
  parse: parseDuration,
};

/** A number of bytes, or a share of the disk. */
export const minFree: ValueType<ReturnType<typeof parseMinFree>> = {
  kind: "percentage of the disk, or a size",
  example: "5%",
  parse: parseMinFree,
};

/** An address or name to listen at or to be reached at. */
export const host: ValueType<string> = { kind: "host name or IP address", example: "0.0.0.0", parse: parseHost };

/** A registry, with or without scheme. */
export const origin: ValueType<string> = {
  kind: "registry: host, host:port or URL without a path",
  example: "registry.example.com:5000",
  parse: parseOrigin,
};

/** Where a registry is, or a template of that. */
export const upstream: ValueType<string> = {
  ...origin,
  kind: `${origin.kind}; {host} in it stands for the registry's name`,
  parse(value) {
    if (typeof value !== "string" || !value.includes("{host}")) return parseOrigin(value);
    parseOrigin(value.replaceAll("{host}", "registry.example.com"));
    return value;
  },
};

/** A mirror of a registry: where it is, and what its repositories have before them. */
export const mirror: ValueType<string> = {
  kind: "registry: host, host:port or URL, with or without a path",
  example: "mirror.example.com",
  parse(value) {
    const { pathname } = parseEndpoint(value, { scheme: "https" });
    const prefix = pathname.slice(1).replace(/\/$/, "");
    if (prefix !== "" && !isRepository(prefix)) {
      throw invalid(`${shown(value)} has a path that is no name of a repository (without /v2/)`);
    }
    return String(value);
  },
};

/** A registry's name, or a pattern of names. */
export const registryPattern: ValueType<string> = {
  kind: 'registry: host or host:port; "*.example.com"; "*"',
  example: "'*.example.com'",
  parse(value) {
    const name = typeof value === "string" ? canonicalRegistry(value) : "";
    if (name !== "*" && !isRegistry(name.replace(/^\*\./, "")))
      throw invalid(`${shown(value)} is not a registry's name`);
    return name;
  },
};

/** A seeder's HTTP port. */
export const seeder: ValueType<URL> = {
  kind: "host:port or URL",
  example: "seeder-1:55008",
  parse: (value) => parseEndpoint(value, { defaultPort: 55008 }),
};

const tracker: ValueType<URL> = {
  kind: "host:port or URL",
  example: "tracker-1:6969",
  parse: (value) => parseEndpoint(value, { defaultPort: 6969, defaultPath: "/announce" }),
};

/** Trackers in tiers: a flat list is one tier; in a list of lists each list is a tier, tried in order. */
export const trackerTiers: ValueType<URL[][]> = {
  kind: "host:port or URL, a list of them, or a list of lists (tiers, tried in order)",
  example: "[tracker-1:6969, tracker-2:6969]",
  parse(value) {
    if (!Array.isArray(value) || !value.some(Array.isArray)) {
      const tier = listOf(tracker).parse(value);
      return tier.length === 0 ? [] : [tier];
    }
    if (value.length > maxList) throw invalid(`a list of ${value.length} is too long (at most ${maxList})`);
    return value.map((tier, index) => {
      const parsed = at(`tier ${index + 1}`, () => listOf(tracker).parse(tier));
      if (parsed.length === 0) throw invalid(`tier ${index + 1} is empty`);
      return parsed;
    });
  },
};

/** A regular expression, matched anywhere in its text. */
export const pattern: ValueType<RegExp> = {
  kind: "regular expression (JavaScript syntax, unanchored)",
  example: "'^https://registry\\.example\\.com/v2/library/'",
  parse(value) {
    if (typeof value !== "string" || value === "") throw invalid(`${shown(value)} is not a regular expression`);
    if (value.length > 4096) throw invalid("the expression is longer than 4096 characters");
    try {
      return new RegExp(value);
    } catch (error) {
      throw invalid(`${shown(value)} is not a regular expression (${error instanceof Error ? error.message : error})`);
    }
  },
};

/** Clients that may use a port; see allow-clients.ts. */
export const allowClients: ValueType<ReturnType<typeof parseAllowClients>> = {
  kind: "loopback, any, an address, a network, or a list of them",
  example: "[loopback, 10.0.0.0/8]",
  parse(value) {
    const rules = asList(value);
    if (rules.length === 0) throw invalid("an empty list would let nobody in");
    return parseAllowClients(rules);
  },
};

/** A directory this app may write in; created at start when missing. */
export const directory: ValueType<string> = {
  kind: "directory",
  example: "/data/bt/proxy",
  parse(value) {
    if (typeof value !== "string" || value === "" || value.length > 4096 || value.includes("\0")) {
      throw invalid(`${shown(value)} is not a directory's path`);
    }
    return value;
  },
};

/** A label that travels in queries and logs. */
export const label: ValueType<string> = {
  kind: "label of at most 64 letters, digits and . _ : / -",
  example: "rack-12",
  parse(value) {
    if (typeof value !== "string" || !/^[A-Za-z0-9._:/-]{1,64}$/.test(value))
      throw invalid(`${shown(value)} is not a label`);
    return value;
  },
};

/** A user's name at a registry. */
export const userName: ValueType<string> = {
  kind: "text without a colon",
  example: "puller",
  parse(value) {
    if (typeof value !== "string") throw invalid(`${shown(value)} is not text (numbers need quotes)`);
    // RFC 7617 section 2: the colon ends the user-id.
    if (!/^[^:\p{Cc}]{1,1024}$/u.test(value)) throw invalid("a user name must have no colon and not be empty");
    return value;
  },
};

/** A password; no message shows it. */
export const secret: ValueType<string> = {
  kind: "text",
  example: "'the password, in quotes'",
  parse(value) {
    if (typeof value !== "string") throw invalid("the value is not text (numbers need quotes)");
    return checkSecret(value);
  },
};

/** A file that holds a password; its content, without the line break at its end. */
export const secretFile: ValueType<string> = {
  kind: "path of a file that holds the password",
  example: "/etc/eagle/registry-password",
  parse: (value) => checkSecret(file(value).content.replace(/\r?\n$/, "")),
};

/** An environment variable that holds a user's name. */
export const environmentUser: ValueType<string> = {
  kind: "name of an environment variable that holds the user's name",
  example: "REGISTRY_USER",
  parse: (value) => userName.parse(environment(value)),
};

/** An environment variable that holds a password. */
export const environmentSecret: ValueType<string> = {
  kind: "name of an environment variable that holds the password",
  example: "REGISTRY_PASSWORD",
  parse: (value) => checkSecret(environment(value)),
};

/** A config.json of docker. Its path: what is in it may change. */
export const dockerConfigFile: ValueType<string> = {
  kind: "path of docker's config.json",
  example: "/root/.docker/config.json",
  parse(value) {
    const found = file(value);
    try {
      parseDockerConfig(found.content);
    } catch (error) {
      throw invalid(`${found.path} is no config.json of docker: ${error instanceof Error ? error.message : error}`);
    }
    return found.path;
  },
};

/** A PEM file with one or more certificates. */
export const certificateFile = pemFile("certificate", "CERTIFICATE", "/etc/eagle/tls.crt");

/** A PEM file with a private key that needs no passphrase. */
export const keyFile = pemFile("private key", "(?:[A-Z]+ )?PRIVATE KEY", "/etc/eagle/tls.key");

/** A whole number in bounds. */
export function wholeNumber(init: { kind: string; example: string; min?: number; max: number }): ValueType<number> {
  const { kind, example, min = 0, max } = init;
  return {
    kind,
    example,
    parse(value) {
      if (typeof value !== "number" || !Number.isInteger(value)) {
        const quoted = typeof value === "string" && /^[0-9]+$/.test(value) ? " (take off the quotes)" : "";
        throw invalid(`${shown(value)} is not a whole number${quoted}`);
      }
      if (value < min || value > max) throw invalid(`${value} is outside ${min} to ${max}`);
      return value;
    },
  };
}

/** Seconds in bounds, fractions allowed. */
export function seconds({ min, max, example }: { min: number; max: number; example: string }): ValueType<number> {
  return {
    kind: `seconds, ${min} to ${max}`,
    example,
    parse(value) {
      if (typeof value !== "number" || Number.isNaN(value)) throw invalid(`${shown(value)} is not a number of seconds`);
      if (value < min || value > max) throw invalid(`${value} is outside ${min} to ${max}`);
      return value;
    },
  };
}

/** One word of a closed set. */
export function oneOf<const T extends string>(words: readonly [T, ...T[]]): ValueType<T> {
  return {
    kind: words.length === 1 ? `${words[0]} (the only one in this version)` : words.join(" or "),
    example: words[0],
    parse(value) {
      const word = words.find((each) => each === value);
      if (word === undefined) throw invalid(`${shown(value)} is not known`);
      return word;
    },
  };
}

/** A list; a single value is a list of one. */
export function listOf<T>(item: ValueType<T>): ValueType<T[]> {
  return {
    kind: `${item.kind}, or a list of them`,
    example: `[${item.example}]`,
    parse(value) {
      if (!Array.isArray(value)) return [item.parse(value)];
      return asList(value).map((each, index) => at(`item ${index + 1}`, () => item.parse(each)));
    },
  };
}

function asList(value: unknown): unknown[] {
  const list = Array.isArray(value) ? value : [value];
  if (list.length > maxList) throw invalid(`a list of ${list.length} is too long (at most ${maxList})`);
  return list;
}

function at<T>(place: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw invalid(`${place}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function file(value: unknown): TextFile {
  if (typeof value !== "string" || value === "" || value.includes("\0")) {
    throw invalid(`${shown(value)} is not a file's path`);
  }
  return readTextFile(value, { limit: 1 << 20 });
}

function environment(value: unknown): string {
  if (typeof value !== "string" || !/^[A-Za-z_][A-Za-z0-9_]{0,255}$/.test(value)) {
    throw invalid(`${shown(value)} is not the name of an environment variable`);
  }
  const found = process.env[value];
  if (found === undefined) throw invalid(`the environment has no variable ${value}`);
  return found;
}

function pemFile(what: string, pem: string, example: string): ValueType<TextFile> {
  return {
    kind: `path of a PEM file with a ${what}`,
    example,
    parse(value) {
      const found = file(value);
      if (!new RegExp(`^-----BEGIN ${pem}-----`, "m").test(found.content)) {
        throw invalid(`${found.path} holds no PEM ${what} (-----BEGIN …)`);
      }
      if (/^-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(found.content)) {
        throw invalid(`${found.path} is encrypted; write the key without a passphrase`);
      }
      return found;
    },
  };
}

function checkSecret(text: string): string {
  if (text === "") throw invalid("the password is empty");
  if (text.length > 65536) throw invalid("the password is longer than 65536 characters");
  if (/[\r\n\0]/.test(text)) throw invalid("the password has more than one line");
  return text;
}
