/**
 * May this caller have this blob? The origin says so, by a HEAD in the caller's name; what it said is kept for a while,
 * and longer while the origin cannot be reached (docs/design.md, "Who may").
 *
 * Two facts are needed: the caller's right in the repository, and the repository's having the blob. So a reader of one
 * repository gets nothing of another by naming its digests, and the blobs of one image cost one question, not many.
 * @module
 */
import { isOutOfDescriptors } from "../http/client-error.ts";
import { hedged } from "../http/hedged.ts";
import { withPatience } from "../http/patience.ts";
import type { Logger } from "../log/log.ts";
import type { Digest } from "../registry/digest.ts";
import { RegistryError } from "../registry/errors.ts";
import type { Caller, OriginClient } from "../registry/origin-client.ts";
import type { Upstream } from "../registry/upstreams.ts";
import { Answers, isAnonymous } from "./answers.ts";

/** What the origin says. */
export type Verdict =
  | {
      readonly kind: "allowed";
      /** Anyone may have it. */
      readonly isPublic: boolean;
      /**
       * The origin has answered for this very blob. Else a manifest of the repository names it, and anyone may read
       * there: that is enough for what others offer to anyone, and for nothing else.
       */
      readonly confirmed: boolean;
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
  /** What the digest names, and the origin is asked for. @default "blob" */
  readonly kind?: "blob" | "manifest";
  /**
   * The blob is on this host as a private one: no manifest's word will do, and whoever has credentials is asked about
   * first. @default false
   */
  readonly isPrivateHere?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * `private`: what anyone may read is one answer for all; else each caller's right is asked for.
 * `always`: each caller's right to each blob is asked for.
 */
export type AccessPolicy = "private" | "always";

export interface AccessCheckerInit {
  readonly origins: Pick<OriginClient, "headBlob" | "headManifest">;
  readonly log: Logger;
  /** @default "private" */
  readonly policy?: AccessPolicy;
  /** How long a right holds, ms. @default 60000 */
  readonly ttlMs?: number;
  /** How long a membership holds, and a right too while the origin cannot be reached, ms. @default 3600000 */
  readonly graceMs?: number;
  /** How long a caller who was refused is refused without asking again, ms. Short: its right may be new. @default 10000 */
  readonly refusalMs?: number;
  /** Longest wait for the origin, ms; after half of it the question is sent once more. @default 5000 */
  readonly timeoutMs?: number;
  /** An origin that could not be reached is not asked again for so long, ms. @default 2000 */
  readonly restMs?: number;
  /** Of each kind of answer. @default 50000 */
  readonly maxEntries?: number;
  /** Monotonic, ms. */
  readonly now?: () => number;
}

type Answer = Extract<Verdict, { kind: "allowed" | "refused" }>;

const ANONYMOUS: Caller = { kind: "anonymous" };

/** See the module. */
export class AccessChecker {
  readonly #origins: Pick<OriginClient, "headBlob" | "headManifest">;
  readonly #log: Logger;
  readonly #policy: AccessPolicy;
  readonly #times: { ttl: number; grace: number; refusal: number; timeout: number; rest: number };
  readonly #answers: Answers;
  readonly #flights = new Map<string, Promise<Answer>>();
  readonly #downUntil = new Map<string, { until: number; error: RegistryError }>();
  readonly #now: () => number;

  constructor({
    origins,
    log,
    policy = "private",
    ttlMs = 60_000,
    graceMs = 3_600_000,
    refusalMs = 10_000,
    timeoutMs = 5000,
    restMs = 2000,
    maxEntries = 50_000,
    now = () => performance.now(),
  }: AccessCheckerInit) {
    this.#origins = origins;
    this.#log = log;
    this.#policy = policy;
    this.#times = { ttl: ttlMs, grace: graceMs, refusal: refusalMs, timeout: timeoutMs, rest: restMs };
    this.#answers = new Answers({ eachBlob: policy === "always", max: maxEntries });
    this.#now = now;
  }

  /** Never rejects but for the signal. */
  async check(query: AccessQuery): Promise<Verdict> {
    const own = ownCaller(query);
    return this.#policy === "always" ? await this.#checkEach(query, own) : await this.#checkOnce(query, own);
  }

  /** Whether anyone may have it; no credentials are used. */
  async checkPublic(query: AccessQuery): Promise<Verdict> {
    return asPublic(await this.#ask(query, ANONYMOUS));
  }

  /** The origin gave this very thing to a caller just now. */
  gave(query: Pick<AccessQuery, "upstream" | "repository" | "digest">, caller: Caller, size: number): void {
    this.#answers.allow(query, caller, { at: this.#now(), size });
  }

  /** A repository may not have this any more: somebody deleted it there by way of this host. */
  forget(place: Pick<AccessQuery, "upstream" | "repository" | "digest">): void {
    this.#answers.drop(place);
  }

  /** How long ago (ms) the origin let anyone read this; undefined: it has to be asked. */
  publicAge(query: AccessQuery): number | undefined {
    if (this.#known(query, ANONYMOUS, this.#times.ttl)?.kind !== "allowed") return undefined;
    return this.#now() - this.#answers.right(query, ANONYMOUS)!;
  }

  /**
   * A repository has a manifest that names these blobs: the origin served it just now, or confirmed that it still has it.
   * Leave out descriptors with `urls` (foreign layers): no registry checks that those are its own.
   * @param options.caller In whose name the origin gave it, if it did so just now: that shows the caller's right.
   * @param options.ageMs How long ago that was.
   */
  learn(
    upstream: Upstream,
    repository: string,
    digests: Iterable<Digest>,
    { caller, ageMs = 0 }: { caller?: Caller | undefined; ageMs?: number } = {},
  ): void {
    // There each caller is asked about for each blob, whatever manifests say.
    if (this.#policy === "always") return;
    const at = this.#now() - ageMs;
    for (const digest of digests) {
      const place = { upstream, repository, digest };
      this.#answers.name(place, at);
      if (caller && (this.#answers.right(place, caller) ?? Number.NEGATIVE_INFINITY) < at)
        this.#answers.grant(place, caller, at);
    }
  }

  /** Public for all by one answer; else the caller's own. */
  async #checkOnce(query: AccessQuery, own: Caller | undefined): Promise<Verdict> {
    const known = this.#known(query, ANONYMOUS, this.#times.ttl);
    if (known?.kind === "allowed") return asPublic(known);
    if (!own) return asPublic(await this.#ask(query, ANONYMOUS));
    const { ttl, grace } = this.#times;
    const mine = this.#known(query, own, ttl);
    if (mine?.kind === "allowed") return mine;
    const closed = this.#answers.closedSince(query);
    if (query.isPrivateHere || (closed !== undefined && this.#now() - closed < grace))
      return await this.#ask(query, own);
    const anyone = await this.#ask(query, ANONYMOUS);
    return anyone.kind === "allowed" ? asPublic(anyone) : await this.#ask(query, own);
  }

  /** The caller's own right, whoever else may. */
  async #checkEach(query: AccessQuery, own: Caller | undefined): Promise<Verdict> {
    if (!own || query.authorization === undefined) {
      const anyone = await this.#ask(query, ANONYMOUS);
      return anyone.kind === "allowed" || !own ? asPublic(anyone) : await this.#ask(query, own);
    }
    const [anyone, mine] = await Promise.all([this.#ask(query, ANONYMOUS), this.#ask(query, own)]);
    return mine.kind === "allowed" ? { ...mine, isPublic: anyone.kind === "allowed" } : mine;
  }

  async #ask(query: AccessQuery, caller: Caller): Promise<Verdict> {
    const known = this.#known(query, caller, this.#times.ttl);
    if (known) return known;
    try {
      return await this.#single(query, caller);
    } catch (cause) {
      query.signal?.throwIfAborted();
      const earlier = this.#known(query, caller, this.#times.grace);
      if (earlier?.kind === "allowed") return earlier;
      const error = cause instanceof RegistryError ? cause : new RegistryError("unavailable", String(cause), { cause });
      return { kind: "unknown", error };
    }
  }

  /** What follows from earlier answers, a right being at most so old. */
  #known(query: AccessQuery, caller: Caller, maxAgeMs: number): Answer | undefined {
    const now = this.#now();
    const right = this.#answers.right(query, caller);
    const member = this.#answers.membership(query);
    if (right !== undefined && now - right < maxAgeMs && member && now - member.at < this.#times.grace) {
      const { seen, size } = member;
      if (seen || (isAnonymous(caller) && !query.isPrivateHere))
        return { kind: "allowed", isPublic: false, confirmed: seen, size };
    }
    const refusal = this.#answers.refusal(query, caller);
    if (!refusal || now - refusal.at >= this.#times.refusal) return undefined;
    return { kind: "refused", status: refusal.status, challenge: refusal.challenge };
  }

  /** One request for all who ask the same; it goes on when one of them leaves. */
  #single(query: AccessQuery, caller: Caller): Promise<Answer> {
    const key = `${query.kind ?? "blob"} ${this.#answers.nameOf(query, caller)}`;
    let flight = this.#flights.get(key);
    if (!flight) {
      flight = this.#head(query, caller).finally(() => this.#flights.delete(key));
      this.#flights.set(key, flight);
    }
    return flight;
  }

  async #head(query: AccessQuery, caller: Caller): Promise<Answer> {
    const { upstream, repository, digest } = query;
    const down = this.#downUntil.get(upstream.name);
    if (down && down.until > this.#now()) throw down.error;
    this.#downUntil.delete(upstream.name);
    const right = this.#answers.right(query, caller);
    const hadRight = right !== undefined && this.#now() - right < this.#times.ttl;
    try {
      const { timeout } = this.#times;
      const ask = (signal: AbortSignal) =>
        query.kind === "manifest"
          ? this.#origins.headManifest(upstream, repository, digest, { caller, signal })
          : this.#origins.headBlob(upstream, repository, digest, { caller, signal });
      const { status, size, challenge } = await withPatience(timeout, (signal) =>
        hedged(ask, { afterMs: timeout / 2, signal }),
      );
      if (status === 429 || status >= 500)
        throw new RegistryError("unavailable", `${upstream.name} answered ${status}`, { status });
      const at = this.#now();
      if (status === 200) {
        this.#answers.allow(query, caller, { at, size });
        return { kind: "allowed", isPublic: false, confirmed: true, size };
      }
      if (status === 401 || status === 403) this.#answers.refuse(query, caller, { at, status, challenge });
      // Many registries say 404 to whom they will not show a repository. No other answer is kept: what is missing now
      // may be pushed the next moment.
      else if (!hadRight) this.#answers.revoke(query, caller);
      return { kind: "refused", status, challenge };
    } catch (cause) {
      const error =
        cause instanceof RegistryError
          ? cause
          : new RegistryError("unavailable", `${upstream.name}: ${String(cause)}`, { cause });
      // An origin that answers, if with an error, answers the next question sooner than it can be given up. And what this
      // host cannot open for now is no fault of the origin.
      if (
        error.status === undefined &&
        !isOutOfDescriptors(error) &&
        (error.code === "aborted" || error.code === "timeout" || error.code === "unavailable")
      ) {
        this.#downUntil.set(upstream.name, { until: this.#now() + this.#times.rest, error });
        this.#log.warn("an origin cannot be asked", { origin: upstream.name, error: error.message });
      }
      throw error;
    }
  }
}

/** Whom to ask for when the anonymous may not: the caller with its credentials, or the operator's for one without. */
function ownCaller({ authorization, upstream }: AccessQuery): Caller | undefined {
  if (authorization !== undefined) return { kind: "caller", authorization };
  return upstream.credentials === undefined ? undefined : { kind: "configured" };
}

function asPublic(verdict: Verdict): Verdict {
  return verdict.kind === "allowed" ? { ...verdict, isPublic: true } : verdict;
}
