/**
 * Requests to origins: authorization, redirects, blobs.
 * @module
 */
import type { Readable } from "node:stream";
import { LRUCache } from "lru-cache";
import { HttpClient, type HttpResponse } from "../http/client.ts";
import type { Logger } from "../log/log.ts";
import { Authenticator, type Authorization, type Credentials } from "./auth.ts";
import { type BlobRead, type BlobReadInit, openBlobRead } from "./blob-read.ts";
import { replayable } from "./buffered-response.ts";
import { parseContentRange } from "./content-range.ts";
import type { Digest } from "./digest.ts";
import { RegistryError } from "./errors.ts";
import { isAnswer, type MirrorAttempt, Mirrors } from "./mirrors.ts";
import { contentLength, discard, type Followed, type HttpSender, requestFollowing } from "./redirects.ts";
import { blobPath, manifestPath, requestUrl } from "./request-path.ts";
import { toRegistryError } from "./transport-error.ts";
import type { Upstream } from "./upstreams.ts";

export type { BlobRead } from "./blob-read.ts";

/**
 * In whose name a request is made:
 * - anonymous: without credentials (a token server may still have to be asked)
 * - configured: with the credentials of the configuration; anonymous if there are none
 * - caller: with the caller's own Authorization header, verbatim, or none. No token flow: a 401 is returned as it is
 */
export type Caller =
  | { readonly kind: "anonymous" }
  | { readonly kind: "configured" }
  | { readonly kind: "caller"; readonly authorization: string | undefined };

/** A request to a registry. */
export interface OriginRequest {
  method: string;
  /** Begins with a slash; with query. */
  path: string;
  /** Authorization, Host, Cookie and Proxy-Authorization in it are left out. */
  headers?: Record<string, string>;
  caller: Caller;
  /** A stream can be sent once: then a 401 is returned as it is. */
  body?: Readable | Uint8Array;
  signal?: AbortSignal;
  headersTimeoutMs?: number;
}

const ownedHeaders: ReadonlySet<string> = new Set(["authorization", "proxy-authorization", "host", "cookie"]);
const maxSpaces = 4096;
/** What is accepted where any manifest will do; some registries do not know `*`. */
const manifestTypes: readonly string[] = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.docker.distribution.manifest.v2+json",
  "*/*",
];

/** Talks to registries. Close it when it made its own {@link HttpClient}. */
export class OriginClient {
  readonly #http: HttpSender;
  readonly #ownHttp: HttpClient | undefined;
  readonly #redirectLimit: number;
  readonly #via: string | undefined;
  readonly #authenticator: Authenticator;
  readonly #mirrors: Mirrors;
  readonly #log: Logger | undefined;
  /** The last challenge met, by registry, repository and kind of access: spares most requests their 401. */
  readonly #challenges = new LRUCache<string, string>({ max: maxSpaces });

  /**
   * @param init.http stays the caller's to close; without it the client makes its own
   * @param init.via this proxy's entry for `Via` (RFC 9110, 7.6.3), so that a request that comes back to it is known
   * @param init.redirectLimit redirects followed at most
   * @param init.now monotonic clock, ms, for the lifetime of tokens
   */
  constructor({
    http,
    log,
    via,
    redirectLimit = 5,
    now,
  }: { http?: HttpSender; log?: Logger; via?: string | undefined; redirectLimit?: number; now?: () => number } = {}) {
    this.#ownHttp = http === undefined ? new HttpClient() : undefined;
    this.#http = http ?? (this.#ownHttp as HttpClient);
    this.#redirectLimit = redirectLimit;
    this.#via = via;
    this.#mirrors = new Mirrors({ now });
    this.#log = log;
    this.#authenticator = new Authenticator({
      http: this.#http,
      ...(log === undefined ? {} : { log }),
      ...(now === undefined ? {} : { now }),
    });
  }

  /**
   * Sends a request. A 401 of the registry is answered by the token flow (or Basic) and the request sent once more
   * (twice if the first answer was a token from the cache). Redirects of GET and HEAD are followed, without
   * Authorization to another scheme, host or port. Any final status resolves; the caller reads or destroys the body.
   * @throws RegistryError unavailable, timeout, protocol, rate_limited, invalid (path), aborted
   */
  async request(upstream: Upstream, init: OriginRequest): Promise<HttpResponse> {
    return (await this.#request(upstream, init)).response;
  }

  /**
   * Asks whether `caller` may have a blob and how long it is.
   * @returns status of the origin (200, 401, 403, 404, ...); size in bytes when told; `challenge`: WWW-Authenticate of
   * the origin, verbatim
   * @throws RegistryError as {@link request}
   */
  async headBlob(
    upstream: Upstream,
    repository: string,
    digest: Digest,
    { caller, signal }: { caller: Caller; signal?: AbortSignal },
  ): Promise<{ status: number; size?: number; challenge?: string }> {
    const path = blobPath(repository, digest);
    const options = { path, caller, ...(signal === undefined ? {} : { signal }) };
    const headers = { "accept-encoding": "identity" };
    let { response, foreign } = await this.#request(upstream, { ...options, headers, method: "HEAD" });
    discard(response, "HEAD");
    let size = contentLength(response.headers);
    // Some registries know no HEAD, and some stores refuse it on addresses signed for GET.
    if (response.status === 405 || response.status === 501 || (foreign && response.status === 403)) {
      const range = "bytes=0-0";
      ({ response } = await this.#request(upstream, { ...options, headers: { ...headers, range }, method: "GET" }));
      discard(response);
      const told = parseContentRange(response.headers.get("content-range"))?.size;
      size = response.status === 200 ? contentLength(response.headers) : told;
      if (response.status === 206 || (response.status === 416 && told === 0)) return { status: 200, ...sized(told) };
    }
    const challenge = response.headers.get("www-authenticate");
    return {
      status: response.status,
      ...(response.status === 200 ? sized(size) : {}),
      ...(challenge === null ? {} : { challenge }),
    };
  }

  /**
   * As {@link headBlob}, for a manifest of any type.
   * @throws RegistryError as {@link request}
   */
  async headManifest(
    upstream: Upstream,
    repository: string,
    digest: Digest,
    { caller, signal }: { caller: Caller; signal?: AbortSignal },
  ): Promise<{ status: number; size?: number; challenge?: string }> {
    const path = manifestPath(repository, digest.toString());
    const headers = { accept: manifestTypes.join(", "), "accept-encoding": "identity" };
    const options = { path, headers, caller, ...(signal === undefined ? {} : { signal }) };
    let response = await this.request(upstream, { ...options, method: "HEAD" });
    discard(response, "HEAD");
    if (response.status === 405 || response.status === 501) {
      response = await this.request(upstream, { ...options, method: "GET" });
      discard(response);
    }
    const { status } = response;
    const challenge = response.headers.get("www-authenticate");
    return {
      status,
      ...(status === 200 ? sized(contentLength(response.headers)) : {}),
      ...(challenge === null ? {} : { challenge }),
    };
  }

  /**
   * Opens a blob at the origin. Resolves when the origin has begun to answer; the body then goes on over cut
   * connections and stalls by asking for the rest, see {@link BlobRead}. The bytes are not checked against the digest.
   * @param init.start first byte; @param init.end exclusive
   * @param init.progressTimeoutMs an origin that sends nothing for so long is asked anew once, then given up (ms);
   * `headersTimeoutMs` is for the head of its answer, `firstStallMs` for the first time
   * @throws RegistryError for any answer but 200 and 206: not_found, unauthorized (with challenge), denied, ...
   */
  async readBlob(
    upstream: Upstream,
    repository: string,
    digest: Digest,
    init: Omit<BlobReadInit, "send" | "what" | "random"> & { caller: Caller },
  ): Promise<BlobRead> {
    const { caller, ...rest } = init;
    const path = blobPath(repository, digest);
    return openBlobRead({
      ...rest,
      what: `blob ${digest} of ${upstream.name}/${repository}`,
      send: (request) => this.request(upstream, { ...request, method: "GET", path, caller }),
    });
  }

  /** Closes the connections of its own client; one that was given stays open. */
  async close(): Promise<void> {
    await this.#ownHttp?.close();
  }

  async #request(upstream: Upstream, init: OriginRequest): Promise<Followed> {
    const url = requestUrl(upstream, init.path);
    if (!upstream.mirrors) return await this.#one(upstream, url, init);
    const { first, resting } = this.#mirrors.attempts(upstream, init);
    const mirrored = await this.#fromMirrors(first);
    if (mirrored) return mirrored;
    try {
      return await this.#one(upstream, url, init);
    } catch (error) {
      const last = init.signal?.aborted ? undefined : await this.#fromMirrors(resting);
      if (last) return last;
      throw error;
    }
  }

  /** The first answer of a mirror that is one. */
  async #fromMirrors(attempts: readonly MirrorAttempt[]): Promise<Followed | undefined> {
    for (const { mirror, request } of attempts) {
      try {
        const answer = await this.#one(mirror, requestUrl(mirror, request.path), request);
        if (isAnswer(answer.response)) return answer;
        discard(answer.response, request.method);
      } catch (error) {
        if (request.signal?.aborted) throw error;
        if (error instanceof RegistryError && error.status === undefined) this.#mirrors.rest(mirror);
        this.#log?.debug("a mirror does not answer", { mirror: mirror.base.host, error });
      }
    }
    return undefined;
  }

  async #one(upstream: Upstream, url: URL, init: OriginRequest): Promise<Followed> {
    const what = `${init.method} ${upstream.name}${url.pathname}`;
    try {
      return await this.#authorized(upstream, url, init);
    } catch (error) {
      throw toRegistryError(error, what, init.signal);
    }
  }

  async #authorized(upstream: Upstream, url: URL, init: OriginRequest): Promise<Followed> {
    const { caller, signal, body } = init;
    if (caller.kind === "caller") {
      return this.#send(upstream, url, init, caller.authorization);
    }
    const credentials = caller.kind === "configured" ? await credentialsOf(upstream) : undefined;
    const space = spaceOf(upstream, init);
    const met = this.#challenges.get(space);
    let authorization: Authorization | undefined =
      met === undefined ? undefined : this.#authenticator.known(upstream, met, credentials);
    let answer = await this.#send(upstream, url, init, authorization?.header);
    const sendable = body === undefined || body instanceof Uint8Array;
    // Bounded: a token made for this request is the last one tried.
    while (answer.response.status === 401 && !answer.foreign && sendable) {
      authorization?.forget();
      const challenge = answer.response.headers.get("www-authenticate");
      if (challenge === null) break;
      answer = { ...answer, response: await replayable(answer.response) };
      const next = await this.#authenticator.answer(upstream, challenge, {
        ...(credentials === undefined ? {} : { credentials }),
        ...(signal === undefined ? {} : { signal }),
      });
      if (next === undefined || next.header === authorization?.header) break;
      this.#challenges.set(space, challenge);
      authorization = next;
      answer = await this.#send(upstream, url, init, next.header);
      if (next.fresh) {
        if (answer.response.status === 401) next.forget();
        break;
      }
    }
    return answer;
  }

  async #send(upstream: Upstream, url: URL, init: OriginRequest, authorization?: string): Promise<Followed> {
    const { method, body, signal, headersTimeoutMs } = init;
    const headers: Record<string, string> = { "user-agent": "eagle" };
    for (const [name, value] of Object.entries(init.headers ?? {})) {
      if (!ownedHeaders.has(name.toLowerCase())) headers[name.toLowerCase()] = value;
    }
    if (this.#via !== undefined) headers.via ??= this.#via;
    if (authorization !== undefined) headers.authorization = authorization;
    const followed = await requestFollowing(this.#http, url, {
      method,
      headers,
      redirectLimit: this.#redirectLimit,
      ...(body === undefined ? {} : { body }),
      ...(signal === undefined ? {} : { signal }),
      ...(headersTimeoutMs === undefined ? {} : { headersTimeoutMs }),
      ...(upstream.ca === undefined ? {} : { ca: upstream.ca, caHost: upstream.base.hostname }),
    });
    // Whoever relayed it would send people's passwords to a host the registry merely redirected to.
    if (followed.foreign) followed.response.headers.delete("www-authenticate");
    return followed;
  }
}

async function credentialsOf({ credentials }: Upstream): Promise<Credentials | undefined> {
  return typeof credentials === "function" ? await credentials() : credentials;
}

function sized(size: number | undefined): { size?: number } {
  return size === undefined ? {} : { size };
}

/** Requests of one space get the same challenge: those of a repository, reading apart from writing. */
function spaceOf(upstream: Upstream, { path, method, caller }: OriginRequest): string {
  const pathname = path.split("?", 1)[0] ?? "";
  const repository = /^\/v2\/(.+)\/(?:blobs|manifests|tags|referrers)\//.exec(pathname.slice(0, 512))?.[1] ?? "";
  const access = method === "GET" || method === "HEAD" ? "read" : "write";
  return `${caller.kind} ${access} ${upstream.base.origin} ${repository}`;
}
