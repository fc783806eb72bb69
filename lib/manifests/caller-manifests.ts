/**
 * Manifests for callers of a proxy: what anyone may read as {@link PublicManifests} has it; the rest in the caller's own
 * name, so that nobody gets from this host what the origin would not give him.
 * @module
 */
import { createHmac, randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { AccessChecker, AccessQuery } from "../access/access.ts";
import { type Digest, isDigest, parseDigest } from "../registry/digest.ts";
import type { Caller } from "../registry/origin-client.ts";
import { type Manifest, namedDigests, type Place, type Resolved } from "./manifest.ts";
import type { ManifestStore } from "./manifest-store.ts";
import { isDown, type OriginManifests } from "./origin-manifests.ts";
import {
  ANONYMOUS,
  asWanted,
  found,
  type ManifestAnswer,
  type ManifestQuery,
  type PublicManifests,
  refusalOf,
  resolveTag,
} from "./public-manifests.ts";
import { SingleFlight } from "./single-flight.ts";

/** A question of a caller. */
export interface CallerQuery extends ManifestQuery {
  /** The caller's header, verbatim. */
  readonly authorization: string | undefined;
}

export interface CallerManifestsInit {
  readonly shared: PublicManifests;
  readonly origin: OriginManifests;
  readonly access: AccessChecker;
  readonly store: ManifestStore;
  /** `proxyCfg.authorize`. */
  readonly authorize: "private" | "always" | "never";
  /** Whether a tag is answered by what it stood for when the origin cannot be asked. @default true */
  readonly staleTags?: boolean;
  /** Monotonic, ms. */
  readonly now?: () => number;
}

/** A repository that was private, or was pushed to through this proxy, is no question for the seeders for so long, ms. */
const APART_MS = 60_000;

/** See the module. Disposing of it closes the store. */
export class CallerManifests {
  readonly #shared: PublicManifests;
  readonly #origin: OriginManifests;
  readonly #access: AccessChecker;
  readonly #store: ManifestStore;
  readonly #authorize: "private" | "always" | "never";
  readonly #staleTags: boolean;
  readonly #now: () => number;
  /** Repositories whose manifests the anonymous were refused, and a caller was not; until when. */
  readonly #private = new LRUCache<string, number>({ max: 10_000 });
  readonly #flights = new SingleFlight<ManifestAnswer>();
  /** For the names of flights: what callers send is kept nowhere. */
  readonly #key = randomBytes(32);
  readonly #pushed = new LRUCache<string, number>({ max: 10_000 });

  constructor({
    shared,
    origin,
    access,
    store,
    authorize,
    staleTags = true,
    now = () => performance.now(),
  }: CallerManifestsInit) {
    this.#shared = shared;
    this.#origin = origin;
    this.#access = access;
    this.#store = store;
    this.#authorize = authorize;
    this.#staleTags = staleTags;
    this.#now = now;
  }

  /** @throws RegistryError protocol; the signal's reason */
  async get(query: CallerQuery): Promise<ManifestAnswer> {
    const own = ownCaller(query);
    const name = nameOf(query.place);
    if (this.#authorize === "always") return await this.#own(query, own ?? ANONYMOUS);
    if (!own || !this.#holds(this.#private, name)) {
      const answer = await this.#shared.get(query, { asksSeeders: !this.#holds(this.#pushed, name) });
      if (!own || answer.kind === "unfit" || (answer.kind === "found" && !answer.isStale)) return answer;
      if (this.#authorize === "never") return answer.kind === "refused" ? { kind: "unfit" } : answer;
      const mine = await this.#own(query, own);
      if (mine.kind === "found" && answer.kind === "refused") this.#private.set(name, this.#now() + APART_MS);
      // Whoever cannot ask in his own name still gets what anyone gets.
      return mine.kind === "down" && answer.kind === "found" ? answer : mine;
    }
    if (this.#authorize === "never") return { kind: "unfit" };
    return await this.#own(query, own);
  }

  /**
   * Something was pushed to the repository, or deleted there: what seeders know may be older.
   * @param reference Tag or digest of it.
   */
  changed(place: Place, reference: string): void {
    if (isDigest(reference)) {
      const digest = parseDigest(reference);
      this.#store.dropManifest(place, digest);
      this.#access.forget({ ...place, digest });
    }
    this.#pushed.set(nameOf(place), this.#now() + APART_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store.close();
  }

  #holds(times: LRUCache<string, number>, name: string): boolean {
    return (times.get(name) ?? Number.NEGATIVE_INFINITY) > this.#now();
  }

  /** One request for all who ask the same with the same credentials. */
  #own(query: CallerQuery, caller: Caller): Promise<ManifestAnswer> {
    const { place, reference, accept, wantsBytes, authorization, signal } = query;
    const who = authorization === undefined ? "" : createHmac("sha256", this.#key).update(authorization).digest("hex");
    const key = [nameOf(place), reference, accept.key, wantsBytes, caller.kind, who].join("\n");
    return this.#flights.join(key, (flight) => this.#ask({ ...query, signal: flight }, caller), signal);
  }

  async #ask(query: CallerQuery, caller: Caller): Promise<ManifestAnswer> {
    try {
      return isDigest(query.reference)
        ? await this.#digest(query, parseDigest(query.reference), caller)
        : await this.#tag(query, caller);
    } catch (error) {
      if (isDown(error)) return { kind: "down", error };
      throw error;
    }
  }

  async #digest(query: CallerQuery, digest: Digest, caller: Caller): Promise<ManifestAnswer> {
    const { place, accept, wantsBytes } = query;
    const stored = await this.#store.manifest(place, digest);
    if (stored && !accept.admits(stored.mediaType)) return { kind: "unfit" };
    if (stored) {
      const verdict = await this.#access.check(accessQuery(query, digest, { isPublic: stored.isPublic }));
      if (verdict.kind === "allowed") return found(stored, { source: "cache", isPublic: verdict.isPublic });
      if (verdict.kind === "refused") return refusalOf(verdict);
      // Without the origin's word there is what anyone could have, where not each caller has to be asked about.
      if (stored.isPublic && this.#authorize !== "always") return found(stored, { source: "cache" });
      return { kind: "down", error: verdict.error };
    }
    const question = { ...query, caller };
    const answer = wantsBytes ? await this.#origin.get(question) : await this.#origin.head(question);
    if (answer.kind === "refused" || answer.kind === "unfit") return answer;
    this.#keep(place, answer.resolved, caller);
    return found(answer.resolved, { source: "origin", isPublic: caller.kind === "anonymous" });
  }

  async #tag(query: CallerQuery, caller: Caller): Promise<ManifestAnswer> {
    const { place, reference, accept } = query;
    const known = await this.#store.tag(place, reference, accept.key);
    const stored = known && (await this.#store.manifest(place, known.digest));
    const isPublic = caller.kind === "anonymous";
    try {
      const answer = await resolveTag(this.#origin, query, { caller, known, stored });
      if (answer.kind === "found") {
        this.#store.putTag(place, reference, accept.key, answer.resolved, { isPublic, at: this.#now() });
        this.#keep(place, answer.resolved, caller);
      }
      return answer;
    } catch (error) {
      if (!isDown(error) || !this.#staleTags || !known) throw error;
      const earlier = asWanted(query, known, stored);
      if (!earlier) throw error;
      const stale = found(earlier, { source: "cache", isStale: true, isPublic: known.isPublic });
      if (known.isPublic && this.#authorize !== "always") return stale;
      const verdict = await this.#access.check(accessQuery(query, known.digest, { isPublic: false }));
      if (verdict.kind === "allowed") return stale;
      return verdict.kind === "refused" ? refusalOf(verdict) : { kind: "down", error };
    }
  }

  /** The origin gave it to this caller just now. */
  #keep(place: Place, resolved: Resolved | Manifest, caller: Caller): void {
    const named = "bytes" in resolved ? namedDigests(resolved.bytes) : [];
    if ("bytes" in resolved) this.#store.putManifest(place, resolved, { isPublic: caller.kind === "anonymous" });
    this.#access.learn(place.upstream, place.repository, named, { caller });
    this.#access.gave({ ...place, digest: resolved.digest }, caller, resolved.size);
  }
}

function accessQuery(
  { place, authorization, signal }: CallerQuery,
  digest: Digest,
  { isPublic }: { isPublic: boolean },
): AccessQuery {
  return { ...place, digest, authorization, kind: "manifest", isPrivateHere: !isPublic, signal };
}

/** The caller with its credentials, or the operator's for one without; undefined: there are none. */
function ownCaller({ authorization, place }: CallerQuery): Caller | undefined {
  if (authorization !== undefined) return { kind: "caller", authorization };
  return place.upstream.credentials === undefined ? undefined : { kind: "configured" };
}

function nameOf({ upstream, repository }: Place): string {
  return `${upstream.name} ${repository}`;
}
