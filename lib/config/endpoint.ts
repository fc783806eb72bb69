/**
 * Where another part listens, as people write it: `host`, `host:port`, `[::1]:port` or a URL.
 *
 * @module
 */
import { isIP } from "node:net";
import { invalid, shown } from "./errors.ts";

/** How {@link parseEndpoint} fills in what was left out. */
export interface EndpointOptions {
  /** Scheme of an endpoint that names none. @default "http" */
  scheme?: "http" | "https";
  /** Port of an endpoint that names neither scheme nor port. @default the scheme's own */
  defaultPort?: number;
  /** Path of an endpoint that names none. @default "/" */
  defaultPath?: string;
}

/**
 * Reads an endpoint into an http or https URL. User names, queries and fragments are refused, as are hosts that only
 * a URL parser would take for an address (`256` as `0.0.1.0`).
 *
 * @throws ConfigError `invalid`
 * @example parseEndpoint("[::1]:6969").href // "http://[::1]:6969/"
 */
export function parseEndpoint(
  text: unknown,
  { scheme = "http", defaultPort, defaultPath = "/" }: EndpointOptions = {},
): URL {
  if (typeof text !== "string" || text === "") throw invalid(`${shown(text)} is not a host`);
  if (text.length > 2048) throw invalid("the endpoint is longer than 2048 characters");
  if (/^[^/]*\/\/[^/?#]*@|^[^/?#]*@/.test(text)) throw invalid("an endpoint must not hold a user name or password");
  if (isIP(text) === 6) throw invalid(`${shown(text)} needs brackets: [${text}]`);

  const match = /^(?:([A-Za-z][A-Za-z0-9+.-]*):\/\/)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]+))?(\/\S*)?$/.exec(
    text,
  );
  if (!match) throw invalid(`${shown(text)} is not a host, host:port or URL`);
  const [, named, host, port, path] = match;
  const given = named?.toLowerCase() ?? scheme;
  if (given !== "http" && given !== "https") {
    throw invalid(`${shown(text)} uses ${given}://, but only http:// and https:// are spoken here`);
  }
  if (path !== undefined && /[?#]/.test(path)) throw invalid(`${shown(text)} must not have a query or fragment`);
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65535)) {
    throw invalid(`${shown(text)} has a port outside 1 to 65535`);
  }
  const chosen = port ?? (named === undefined ? defaultPort : undefined);
  const href = `${given}://${host}${chosen === undefined ? "" : `:${chosen}`}`;
  if (!URL.canParse(href)) throw invalid(`${shown(text)} has a host that is not valid`);
  const url = new URL(href);
  if (isIP(url.hostname) === 4 && url.hostname !== host) throw invalid(`${shown(text)} has a host that is not valid`);
  url.pathname = path === undefined || path === "/" ? defaultPath : path;
  return url;
}

/**
 * Checks a registry: `host`, `host:port`, or such with `http://` or `https://` before it, and no path. Returned as
 * text (lower case, without a slash at the end), because whether a registry without a scheme speaks TLS is decided
 * where registries are known.
 *
 * @throws ConfigError `invalid`
 */
export function parseOrigin(text: unknown): string {
  if (parseEndpoint(text, { scheme: "https" }).pathname !== "/") {
    throw invalid(`${shown(text)} must not have a path`);
  }
  return String(text).toLowerCase().replace(/\/$/, "");
}

/**
 * Checks a bare host (name, IPv4 or IPv6 address, with or without brackets), as one to listen at or to advertise.
 * Brackets are taken off.
 *
 * @throws ConfigError `invalid`
 */
export function parseHost(text: unknown): string {
  if (typeof text !== "string") throw invalid(`${shown(text)} is not a host`);
  const bare = /^\[(.*)\]$/.exec(text)?.[1] ?? text;
  if (isIP(bare) !== 0) return bare.toLowerCase();
  const name =
    /^(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*$/;
  // A name whose last label is a number can only be a mistyped address (WHATWG URL, "ends in a number").
  if (!name.test(text) || /(^|\.)[0-9]+$/.test(text)) throw invalid(`${shown(text)} is not a host name or IP address`);
  return text.toLowerCase();
}
