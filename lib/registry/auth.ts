/**
 * Answers to challenges of registries: Basic (RFC 7617) and the token flow of the Distribution token specification
 * (GET, and POST as in OAuth 2 with an identity token).
 * @module
 */
import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Logger } from "../log/log.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import { RegistryError, registryErrorCode } from "./errors.ts";
import { discard, type HttpSender, requestFollowing } from "./redirects.ts";
import { basicHeader, readAll, readToken, scopesOf, tokenRequest } from "./token-exchange.ts";
import { abortable, toRegistryError } from "./transport-error.ts";
import { isLoopbackHost, type Upstream } from "./upstreams.ts";

export { type Challenge, parseChallenges } from "./challenge.ts";

/** User name and password; the user name `<token>` makes the password an identity (refresh) token. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** What to put into the Authorization header. */
export interface Authorization {
  readonly header: string;
  /** Made for this call; false: it was in the cache and may have been revoked since. */
  readonly fresh: boolean;
  /** To be called when the registry refused it: the next answer is a new one. */
  forget(): void;
}

interface Token {
  readonly value: string;
  /** On the clock of `now`, ms. */
  readonly usableUntil: number;
}

const maxAnswerBytes = 256 * 1024;
/** A token server that said no is believed for so long, ms: the many requests of one pull ask it once. */
const refusalMs = 5000;

/** Tokens for registries, each fetched once however many ask. Holds nothing that needs closing. */
export class Authenticator {
  readonly #http: HttpSender;
  readonly #log: Logger | undefined;
  readonly #now: () => number;
  readonly #timeoutMs: number;
  readonly #tokens: LRUCache<string, Token>;
  /** Questions a token server said no to, until when. */
  readonly #refused: LRUCache<string, number>;
  readonly #flights = new Map<string, Promise<Token | undefined>>();

  /**
   * @param init.now monotonic clock, ms
   * @param init.maxTokens tokens kept, the least recently used go first
   * @param init.timeoutMs for one whole exchange with a token server
   */
  constructor({
    http,
    log,
    now = () => performance.now(),
    maxTokens = 2048,
    timeoutMs = 15_000,
  }: { http: HttpSender; log?: Logger; now?: () => number; maxTokens?: number; timeoutMs?: number }) {
    this.#http = http;
    this.#log = log;
    this.#now = now;
    this.#timeoutMs = timeoutMs;
    this.#tokens = new LRUCache({ max: maxTokens });
    this.#refused = new LRUCache({ max: maxTokens });
  }

  /**
   * An answer to the WWW-Authenticate header of `upstream`.
   * @param options.credentials undefined: as an anonymous caller
   * @returns undefined when there is none: an unknown scheme, Basic without credentials, a token realm that may not be
   * asked (see {@link mayAskRealm}), or a token server that said no
   * @throws RegistryError unavailable, timeout, rate_limited, protocol (of the token server), aborted
   */
  async answer(
    upstream: Upstream,
    challenge: string,
    { credentials, signal }: { credentials?: Credentials; signal?: AbortSignal } = {},
  ): Promise<Authorization | undefined> {
    const challenges = parseChallenges(challenge);
    const bearer = bearerOf(challenges);
    if (bearer === undefined) return basic(challenges, credentials);
    const realm = URL.parse(bearer.params.get("realm") ?? "");
    if (realm === null || !mayAskRealm(realm, upstream)) {
      this.#log?.warn("token realm refused: it must be https, or http on loopback or for a plainHTTP registry", {
        registry: upstream.name,
        realm: realm?.origin,
      });
      return undefined;
    }
    const key = tokenKey(upstream, bearer, credentials);
    const cached = this.#fromCache(key);
    if (cached !== undefined) return cached;
    if ((this.#refused.get(key) ?? Number.NEGATIVE_INFINITY) > this.#now()) return undefined;
    const token = await this.#join(key, signal, () => this.#fetch(realm, bearer, upstream, credentials));
    return token === undefined ? undefined : this.#authorization(key, token, true);
  }

  /** As {@link answer}, from memory alone: a token that is still good, or Basic. */
  known(upstream: Upstream, challenge: string, credentials: Credentials | undefined): Authorization | undefined {
    const challenges = parseChallenges(challenge);
    const bearer = bearerOf(challenges);
    if (bearer === undefined) return basic(challenges, credentials);
    return this.#fromCache(tokenKey(upstream, bearer, credentials));
  }

  #fromCache(key: string): Authorization | undefined {
    const token = this.#tokens.get(key);
    if (token === undefined) return undefined;
    if (token.usableUntil > this.#now()) return this.#authorization(key, token, false);
    this.#tokens.delete(key);
    return undefined;
  }

  #authorization(key: string, token: Token, fresh: boolean): Authorization {
    const forget = () => {
      if (this.#tokens.peek(key) === token) this.#tokens.delete(key);
    };
    return { header: `Bearer ${token.value}`, fresh, forget };
  }

  /** Single flight by key. It goes on when its callers leave: its token is for whoever asks next. */
  async #join(
    key: string,
    signal: AbortSignal | undefined,
    fetch: () => Promise<Token | undefined>,
  ): Promise<Token | undefined> {
    let flight = this.#flights.get(key);
    if (flight === undefined) {
      flight = fetch()
        .then((token) => {
          if (token === undefined) this.#refused.set(key, this.#now() + refusalMs);
          else this.#tokens.set(key, token);
          return token;
        })
        .finally(() => this.#flights.delete(key));
      // Those who wait hear of its failure; there may be none left.
      flight.catch(() => {});
      this.#flights.set(key, flight);
    }
    return await abortable(flight, signal);
  }

  async #fetch(
    realm: URL,
    challenge: Challenge,
    upstream: Upstream,
    credentials: Credentials | undefined,
  ): Promise<Token | undefined> {
    const started = this.#now();
    const timeout = AbortSignal.timeout(this.#timeoutMs);
    const what = `token server ${realm.origin} of ${upstream.name}`;
    try {
      const { url, ...request } = tokenRequest(realm, challenge, credentials);
      const { response } = await requestFollowing(this.#http, url, {
        ...request,
        signal: timeout,
        headersTimeoutMs: this.#timeoutMs,
        ...(upstream.ca === undefined ? {} : { ca: upstream.ca, caHost: upstream.base.hostname }),
        redirectLimit: 3,
        allow: (url: URL) => mayAskRealm(url, upstream),
      });
      const { status } = response;
      if (status === 200) {
        const { value, lifetimeMs } = readToken(await readAll(response.body, { maxBytes: maxAnswerBytes, what }), what);
        // Some way before its end a token is not handed out any more: the request still has to reach the registry.
        return { value, usableUntil: started + lifetimeMs - Math.min(lifetimeMs * 0.1, 10_000) };
      }
      discard(response);
      if (status >= 400 && status < 500 && status !== 408 && status !== 429) {
        this.#log?.warn("token server refused", {
          registry: upstream.name,
          realm: realm.origin,
          status,
          user: credentials === undefined ? "anonymous" : "configured",
        });
        return undefined;
      }
      throw new RegistryError(registryErrorCode(status), `${what} answered ${status}`, { status });
    } catch (error) {
      if (timeout.aborted) {
        throw new RegistryError("timeout", `${what} did not answer within ${this.#timeoutMs} ms`, { cause: error });
      }
      throw toRegistryError(error, what);
    }
  }
}

/**
 * Whether credentials may go to a token realm: https anywhere; http if the registry itself was set to plain http by
 * the operator, or if both are on loopback.
 */
export function mayAskRealm(realm: URL, upstream: Upstream): boolean {
  if (realm.username !== "" || realm.password !== "") return false;
  if (realm.protocol === "https:") return true;
  if (realm.protocol !== "http:") return false;
  if (upstream.plainHTTP === true) return true;
  return isLoopbackHost(realm.hostname) && isLoopbackHost(upstream.base.hostname);
}

function bearerOf(challenges: readonly Challenge[]): Challenge | undefined {
  return challenges.find(({ scheme, params }) => scheme === "bearer" && params.has("realm"));
}

function basic(challenges: readonly Challenge[], credentials: Credentials | undefined): Authorization | undefined {
  if (credentials === undefined || !challenges.some(({ scheme }) => scheme === "basic")) return undefined;
  return { header: basicHeader(credentials), fresh: true, forget: () => {} };
}

// The registry is part of the key: one registry must not get a token another one asked for by copying its challenge.
function tokenKey(upstream: Upstream, challenge: Challenge, credentials: Credentials | undefined): string {
  const who =
    credentials === undefined
      ? "anonymous"
      : createHash("sha256")
          .update(JSON.stringify([credentials.username, credentials.password]))
          .digest("base64url");
  const { params } = challenge;
  return JSON.stringify([upstream.base.origin, params.get("realm"), params.get("service"), scopesOf(challenge), who]);
}
