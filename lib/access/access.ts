/**
 * May this caller have this blob? The origin says so, by one HEAD in the caller's name; what it said is kept for a
 * while, and longer while the origin cannot be reached (docs/design.md, "Who may").
 * @module
 */
import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Logger } from "../log/log.ts";
import type { Digest } from "../registry/digest.ts";
import { RegistryError } from "../registry/errors.ts";
import type { Caller, OriginClient } from "../registry/origin-client.ts";
import type { Upstream } from "../registry/upstreams.ts";

/** What the origin says. */
export type Verdict =
  | {
      readonly kind: "allowed";
      /** Anyone may have it. */
      readonly isPublic: boolean;
      /** Bytes, where the origin told. */
      readonly size: number | undefined;
    }
  | { readonly kind: "refused"; readonly status: number; readonly challenge: string | undefined }
  /** The origin cannot be asked, and nothing it said earlier still holds. */
  | { readonly kind: "unknown"; readonly error: RegistryError };

/** A question. */
export interface AccessQuery {
  readonly upstream: Upstream;
  readonly repository: string;
  readonly digest: Digest;
  /** The caller's header, verbatim. */
  readonly authorization: string | undefined;
  readonly signal?: AbortSignal;
}

export interface AccessCheckerInit {
  readonly origins: Pick<OriginClient, "headBlob">;
  readonly log: Logger;
  /** How long an answer holds, ms. @default 60000 */
  readonly ttlMs?: number;
  /** How long an allowance holds while the origin cannot be reached, ms. @default 3600000 */
  readonly graceMs?: number;
  /** Longest wait for the origin, ms. @default 5000 */
  readonly timeoutMs?: number;
  /** An origin that could not be reached is not asked again for so long, ms. @default 2000 */
  readonly restMs?: number;
  readonly maxEntries?: number;
  /** Monotonic, ms. */
  readonly now?: () => number;
}

interface Entry {
  readonly answer: {
    readonly allowed: boolean;
    readonly status: number;
    readonly size: number | undefined;
    readonly challenge: string | undefined;
  };
  readonly at: number;
}

/** See the module. */
export class AccessChecker {
  readonly #init: AccessCheckerInit;
  readonly #entries: LRUCache<string, Entry>;
  readonly #flights = new Map<string, Promise<Entry["answer"]>>();
  readonly #downUntil = new Map<string, { until: number; error: RegistryError }>();
  readonly #now: () => number;

  constructor(init: AccessCheckerInit) {
    this.#init = init;
    this.#entries = new LRUCache({ max: init.maxEntries ?? 50_000 });
    this.#now = init.now ?? (() => performance.now());
  }

  /** Never rejects but for the signal. */
  async check(query: AccessQuery): Promise<Verdict> {
    const { upstream, authorization } = query;
    const anonymous = await this.#ask(query, { kind: "anonymous" });
    if (anonymous.kind === "allowed") return { ...anonymous, isPublic: true };
    if (authorization === undefined && upstream.credentials === undefined) return anonymous;
    const caller: Caller = authorization === undefined ? { kind: "configured" } : { kind: "caller", authorization };
    return await this.#ask(query, caller);
  }

  async #ask(query: AccessQuery, caller: Caller): Promise<Verdict> {
    const key = keyOf(query, caller);
    const entry = this.#entries.get(key);
    const age = entry ? this.#now() - entry.at : Number.POSITIVE_INFINITY;
    if (entry && age < (this.#init.ttlMs ?? 60_000)) return verdict(entry.answer);
    try {
      return verdict(await this.#single(key, query, caller));
    } catch (cause) {
      query.signal?.throwIfAborted();
      if (entry?.answer.allowed && age < (this.#init.graceMs ?? 3_600_000)) return verdict(entry.answer);
      const error = cause instanceof RegistryError ? cause : new RegistryError("unavailable", String(cause), { cause });
      return { kind: "unknown", error };
    }
  }

  /** One request for all who ask the same; it goes on when one of them leaves. */
  #single(key: string, query: AccessQuery, caller: Caller): Promise<Entry["answer"]> {
    let flight = this.#flights.get(key);
    if (!flight) {
      flight = this.#head(key, query, caller).finally(() => this.#flights.delete(key));
      this.#flights.set(key, flight);
    }
    return flight;
  }

  async #head(key: string, { upstream, repository, digest }: AccessQuery, caller: Caller): Promise<Entry["answer"]> {
    const down = this.#downUntil.get(upstream.name);
    if (down && down.until > this.#now()) throw down.error;
    this.#downUntil.delete(upstream.name);
    try {
      const signal = AbortSignal.timeout(this.#init.timeoutMs ?? 5000);
      const { status, size, challenge } = await this.#init.origins.headBlob(upstream, repository, digest, {
        caller,
        signal,
      });
      if (status === 429 || status >= 500)
        throw new RegistryError("unavailable", `${upstream.name} answered ${status}`, { status });
      const answer = { allowed: status === 200, status, size, challenge };
      this.#entries.set(key, { answer, at: this.#now() });
      return answer;
    } catch (cause) {
      const error =
        cause instanceof RegistryError
          ? cause
          : new RegistryError("unavailable", `${upstream.name}: ${String(cause)}`, { cause });
      // An origin that answers, if with an error, answers the next question sooner than it can be given up.
      if (
        error.status === undefined &&
        (error.code === "aborted" || error.code === "timeout" || error.code === "unavailable")
      ) {
        this.#downUntil.set(upstream.name, { until: this.#now() + (this.#init.restMs ?? 2000), error });
        this.#init.log.warn("an origin cannot be asked", { origin: upstream.name, error: error.message });
      }
      throw error;
    }
  }
}

function verdict(answer: Entry["answer"]): Verdict {
  if (answer.allowed) return { kind: "allowed", isPublic: false, size: answer.size };
  return { kind: "refused", status: answer.status, challenge: answer.challenge };
}

/** Credentials are kept as a hash. */
function keyOf({ upstream, repository, digest }: AccessQuery, caller: Caller): string {
  const who =
    caller.kind === "caller"
      ? createHash("sha256")
          .update(caller.authorization ?? "")
          .digest("base64")
      : caller.kind;
  return `${upstream.name} ${repository} ${digest} ${who}`;
}
