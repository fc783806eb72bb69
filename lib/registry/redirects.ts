/**
 * Requests that follow redirects without carrying secrets to other hosts (RFC 9110, section 15.4).
 * @module
 */
import type { Readable } from "node:stream";
import type { HttpClient, HttpResponse } from "../http/client.ts";
import { RegistryError } from "./errors.ts";

/** What this folder needs of an HTTP client. */
export type HttpSender = Pick<HttpClient, "request">;

/** An answer and who gave it. */
export interface Followed {
  readonly response: HttpResponse;
  readonly url: URL;
  /** Another scheme, host or port than the one first asked took part: its challenges are not ours to answer. */
  readonly foreign: boolean;
}

/** What to send. */
export interface FollowInit {
  method: string;
  /** Names in lower case. */
  headers: Record<string, string>;
  body?: Uint8Array | Readable;
  signal?: AbortSignal;
  headersTimeoutMs?: number;
  /** PEM text of further authorities, believed for `caHost`; for other hosts only where the system's do not suffice. */
  ca?: string;
  caHost?: string;
  /** Redirects followed at most. */
  redirectLimit: number;
  /** Asked before every request, the first included. */
  allow?: (url: URL) => boolean;
}

const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const secretHeaders = /^(?:authorization|proxy-authorization|cookie|eagle-.*)$/;
const maxDrain = 16 * 1024;

/**
 * Sends a request and, for GET and HEAD, follows redirects. Authorization and cookies go to the first scheme, host and
 * port only, and do not come back when a chain returns there. A redirect of another method is returned as it is.
 * @throws RegistryError protocol: no usable Location, too many redirects, `allow` said no
 * @throws whatever the client throws
 */
export async function requestFollowing(http: HttpSender, url: URL, init: FollowInit): Promise<Followed> {
  const followable = init.method === "GET" || init.method === "HEAD";
  let headers = init.headers;
  let current = url;
  let foreign = false;
  for (let redirects = 0; ; redirects++) {
    if (init.allow?.(current) === false) {
      throw new RegistryError("protocol", `${url.host} redirected to ${current.origin}, which is not allowed`);
    }
    const response = await send(http, current, { ...init, headers });
    if (!followable || !redirectStatuses.has(response.status)) return { response, url: current, foreign };
    discard(response, init.method);
    const next = readLocation(response, current, url);
    if (redirects >= init.redirectLimit) {
      throw new RegistryError("protocol", `${url.host}: more than ${init.redirectLimit} redirects`, {
        status: response.status,
      });
    }
    if (next.origin !== current.origin) {
      foreign = true;
      headers = Object.fromEntries(Object.entries(headers).filter(([name]) => !secretHeaders.test(name)));
    }
    current = next;
  }
}

/**
 * Lets go of a body nobody reads; a short one, or the absent one of a HEAD, is read to its end so that the connection
 * can be used again.
 */
export function discard(response: HttpResponse, method = "GET"): void {
  const length = method === "HEAD" ? 0 : contentLength(response.headers);
  // Nobody listens any more: an error after this must not become an uncaught one.
  response.body.on("error", () => {});
  if (length !== undefined && length <= maxDrain) response.body.resume();
  else response.body.destroy();
}

/** Content-Length in bytes, undefined when it is missing or no plain number. */
export function contentLength(headers: Headers): number | undefined {
  const text = headers.get("content-length");
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

function readLocation(response: HttpResponse, current: URL, first: URL): URL {
  const location = response.headers.get("location");
  const next = location === null ? null : URL.parse(location, current.href);
  if (next === null || !/^https?:$/.test(next.protocol) || next.username !== "" || next.password !== "") {
    throw new RegistryError("protocol", `${first.host}: redirect (${response.status}) without a usable Location`, {
      status: response.status,
    });
  }
  next.hash = "";
  return next;
}

async function send(http: HttpSender, url: URL, init: FollowInit): Promise<HttpResponse> {
  const { method, headers, body, signal, headersTimeoutMs, ca, caHost } = init;
  const request = {
    method,
    headers,
    ...(body === undefined ? {} : { body }),
    ...(signal === undefined ? {} : { signal }),
    ...(headersTimeoutMs === undefined ? {} : { headersTimeoutMs }),
  };
  if (ca === undefined || url.protocol !== "https:") return http.request(url, request);
  if (url.hostname === caHost) return http.request(url, { ...request, ca });
  // A list of authorities replaces the system's list. A CDN is usually signed by a public one, a token server of the
  // same house by the private one: try the public ones first.
  try {
    return await http.request(url, request);
  } catch (error) {
    if (signal?.aborted || !(error instanceof Error) || !("code" in error) || error.code !== "connect") throw error;
    return http.request(url, { ...request, ca });
  }
}
