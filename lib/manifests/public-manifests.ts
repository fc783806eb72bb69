/**
 * Manifests that anyone may read: what a seeder answers its proxies, and what a proxy tries before it asks the origin
 * in its caller's name. However many ask the same at the same time, one of them is asked on.
 *
 * What a digest names never changes: kept, it needs no more than that anyone may still read there. What a tag stands
 * for is asked each time, or after `tagTtlMs`.
 * @module
 */
import type { AccessChecker, AccessQuery } from "../access/access.ts";
import { type Digest, isDigest, parseDigest } from "../registry/digest.ts";
import type { RegistryError } from "../registry/errors.ts";
import type { Caller } from "../registry/origin-client.ts";
import type { Accept } from "./accept.ts";
import { type Manifest, namedDigests, type Place, type Resolved } from "./manifest.ts";
import type { ManifestStore, StoredManifest, StoredTag } from "./manifest-store.ts";
import { isDown, type OriginManifests, type Refusal } from "./origin-manifests.ts";
import type { SeederManifests } from "./seeder-manifests.ts";
import { SingleFlight } from "./single-flight.ts";

/** A question. */
export interface ManifestQuery {
  readonly place: Place;
  /** Tag or digest. */
  readonly reference: string;
  readonly accept: Accept;
  /** False: what it stands for will do (HEAD). */
  readonly wantsBytes: boolean;
  readonly signal: AbortSignal;
}

/** What was found. */
export interface FoundManifest {
  readonly kind: "found";
  /** With bytes, if those were wanted. */
  readonly resolved: Resolved | Manifest;
  /** Where the answer came from. */
  readonly source: "cache" | "seeder" | "origin";
  readonly isPublic: boolean;
  /** How old the origin's word is, ms. */
  readonly ageMs: number;
  /** The origin could not be asked: this is what it said earlier. */
  readonly isStale: boolean;
}

/** An answer. */
export type ManifestAnswer =
  | FoundManifest
  | Refusal
  /** Nothing that Eagle handles: the request is to be passed on as it is. */
  | { readonly kind: "unfit" }
  /** The origin cannot be asked, and nothing it said earlier will do. */
  | { readonly kind: "down"; readonly error: RegistryError };

export interface PublicManifestsInit {
  readonly origin: OriginManifests;
  readonly access: AccessChecker;
  readonly store: ManifestStore;
  /** Asked before the origin. */
  readonly seeders?: SeederManifests | undefined;
  /** How long the origin's word on a tag holds, ms. @default 0 */
  readonly tagTtlMs?: number;
  /** Whether a tag is answered by what it stood for when the origin cannot be asked. @default true */
  readonly staleTags?: boolean;
  /** Monotonic, ms. */
  readonly now?: () => number;
}

export const ANONYMOUS: Caller = { kind: "anonymous" };

/** See the module. */
export class PublicManifests {
  readonly #origin: OriginManifests;
  readonly #access: AccessChecker;
  readonly #store: ManifestStore;
  readonly #seeders: SeederManifests | undefined;
  readonly #tagTtlMs: number;
  readonly #staleTags: boolean;
  readonly #now: () => number;
  readonly #flights = new SingleFlight<ManifestAnswer>();

  constructor({
    origin,
    access,
    store,
    seeders,
    tagTtlMs = 0,
    staleTags = true,
    now = () => performance.now(),
  }: PublicManifestsInit) {
    this.#origin = origin;
    this.#access = access;
    this.#store = store;
    this.#seeders = seeders;
    this.#tagTtlMs = tagTtlMs;
    this.#staleTags = staleTags;
    this.#now = now;
  }

  /**
   * @param options.asksSeeders false: only the origin's own word will do
   * @throws RegistryError protocol; the signal's reason
   */
  async get(query: ManifestQuery, { asksSeeders = true }: { asksSeeders?: boolean } = {}): Promise<ManifestAnswer> {
    const { place, reference, accept, wantsBytes, signal } = query;
    const parts = [place.upstream.name, place.repository, reference, accept.key, wantsBytes, asksSeeders];
    const seeders = asksSeeders ? this.#seeders : undefined;
    return await this.#flights.join(
      parts.join("\n"),
      (flight) => {
        const shared = { ...query, signal: flight };
        return isDigest(reference) ? this.#digest(shared, parseDigest(reference), seeders) : this.#tag(shared, seeders);
      },
      signal,
    );
  }

  async #digest(query: ManifestQuery, digest: Digest, seeders: SeederManifests | undefined): Promise<ManifestAnswer> {
    const { place, accept, signal } = query;
    const stored = await this.#store.manifest(place, digest);
    if (stored && !accept.admits(stored.mediaType)) return { kind: "unfit" };
    const isPrivateHere = stored !== undefined && !stored.isPublic;
    const asked: AccessQuery = { ...place, digest, authorization: undefined, kind: "manifest", isPrivateHere, signal };
    const known = this.#access.publicAge(asked);
    if (stored && known !== undefined) return found(stored, { source: "cache", ageMs: known });
    const told = await this.#told(query, seeders, stored);
    if (told && !told.isStale) return told;
    const verdict = await this.#access.checkPublic(asked);
    if (verdict.kind === "unknown") {
      if (stored?.isPublic) return found(stored, { source: "cache" });
      return told ?? { kind: "down", error: verdict.error };
    }
    if (verdict.kind === "refused") {
      if (stored?.isPublic) await this.#takeBack(place, stored, verdict.status);
      return refusalOf(verdict);
    }
    if (!stored) return await this.#read(query);
    this.#keep(place, stored, { ageMs: 0 });
    return found(stored, { source: "cache" });
  }

  async #tag(query: ManifestQuery, seeders: SeederManifests | undefined): Promise<ManifestAnswer> {
    const { place, reference, accept } = query;
    const known = await this.#store.tag(place, reference, accept.key);
    const stored = known && (await this.#store.manifest(place, known.digest));
    const age = known?.at === undefined ? Number.POSITIVE_INFINITY : this.#now() - known.at;
    if (known?.isPublic && age < this.#tagTtlMs) {
      const recent = asWanted(query, known, stored);
      if (recent) return found(recent, { source: "cache", ageMs: age });
    }
    const told = await this.#told(query, seeders, stored);
    if (told && !told.isStale) return told;
    try {
      const answer = await resolveTag(this.#origin, query, { caller: ANONYMOUS, known, stored });
      if (answer.kind === "found") this.#keepTag(query, answer, { isSeen: true });
      else if (answer.kind === "refused" && known?.isPublic) this.#store.dropTag(place, reference, accept.key);
      return answer;
    } catch (error) {
      if (!isDown(error)) throw error;
      const earlier = this.#staleTags && known?.isPublic ? asWanted(query, known, stored) : undefined;
      if (earlier) return found(earlier, { source: "cache", isStale: true });
      return (this.#staleTags && told) || { kind: "down", error };
    }
  }

  /** What the seeders tell, kept. */
  async #told(
    query: ManifestQuery,
    seeders: SeederManifests | undefined,
    stored: StoredManifest | undefined,
  ): Promise<FoundManifest | undefined> {
    const have = stored && query.accept.admits(stored.mediaType) ? stored : undefined;
    const told = await seeders?.ask({ ...query, have });
    if (!told) return undefined;
    const { resolved, ageMs, isStale } = told;
    const answer = found(resolved, { source: "seeder", ageMs, isStale });
    // What the origin did not confirm shows nobody's right.
    if (isStale) return answer;
    if (isDigest(query.reference)) this.#keep(query.place, resolved, { ageMs });
    else this.#keepTag(query, answer);
    return answer;
  }

  async #read(query: ManifestQuery): Promise<ManifestAnswer> {
    try {
      const question = { ...query, caller: ANONYMOUS };
      const answer = query.wantsBytes ? await this.#origin.get(question) : await this.#origin.head(question);
      if (answer.kind === "refused" || answer.kind === "unfit") return answer;
      this.#keep(query.place, answer.resolved, { ageMs: 0, isSeen: true });
      return found(answer.resolved, { source: "origin" });
    } catch (error) {
      if (isDown(error)) return { kind: "down", error };
      throw error;
    }
  }

  #keepTag(
    { place, reference, accept }: ManifestQuery,
    { resolved, ageMs }: FoundManifest,
    { isSeen = false }: { isSeen?: boolean } = {},
  ): void {
    const at = this.#now() - ageMs;
    this.#store.putTag(place, reference, accept.key, resolved, { isPublic: true, at });
    this.#keep(place, resolved, { ageMs, isSeen });
  }

  /** @param init.isSeen The origin itself gave it to this process just now. */
  #keep(
    place: Place,
    resolved: Resolved | Manifest,
    { ageMs, isSeen = false }: { ageMs: number; isSeen?: boolean },
  ): void {
    const { upstream, repository } = place;
    const named = "bytes" in resolved ? namedDigests(resolved.bytes) : [];
    if ("bytes" in resolved) this.#store.putManifest(place, resolved, { isPublic: true });
    this.#access.learn(upstream, repository, [resolved.digest, ...named], { caller: ANONYMOUS, ageMs });
    if (isSeen) this.#access.gave({ ...place, digest: resolved.digest }, ANONYMOUS, resolved.size);
  }

  async #takeBack(place: Place, stored: StoredManifest, status: number): Promise<void> {
    if (status === 404) this.#store.dropManifest(place, stored.digest);
    else this.#store.putManifest(place, stored, { isPublic: false });
  }
}

/**
 * Asks the origin what a tag stands for: by a HEAD where that may spare the body, else by reading it.
 * @param from.known What it stood for, with its manifest, if that is here.
 * @throws RegistryError
 */
export async function resolveTag(
  origin: OriginManifests,
  query: ManifestQuery,
  { caller, known, stored }: { caller: Caller; known: StoredTag | undefined; stored: StoredManifest | undefined },
): Promise<FoundManifest | Refusal | { kind: "unfit" }> {
  const isPublic = caller.kind === "anonymous";
  const question = { ...query, caller };
  const { wantsBytes } = query;
  if (!wantsBytes || (known && stored)) {
    const head = await origin.head(question);
    if (head.kind === "refused") return head;
    if (head.kind === "resolved") {
      const { resolved } = head;
      if (!wantsBytes) return found(resolved, { source: "origin", isPublic });
      if (stored && resolved.digest.toString() === stored.digest.toString() && query.accept.admits(stored.mediaType))
        return found(stored, { source: "cache", isPublic });
    }
  }
  const answer = await origin.get(question);
  if (answer.kind === "refused" || answer.kind === "unfit") return answer;
  return found(answer.resolved, { source: "origin", isPublic });
}

/** What a tag stood for, if all that is wanted of it is here. */
export function asWanted(
  { wantsBytes, accept }: ManifestQuery,
  known: StoredTag,
  stored: StoredManifest | undefined,
): Resolved | Manifest | undefined {
  if (!accept.admits(known.mediaType)) return undefined;
  return wantsBytes ? stored : known;
}

export function found(
  resolved: Resolved | Manifest,
  init: Pick<FoundManifest, "source"> & Partial<FoundManifest>,
): FoundManifest {
  return { kind: "found", isPublic: true, ageMs: 0, isStale: false, ...init, resolved };
}

/** The access checker's word as one of the origin's. */
export function refusalOf({ status, challenge }: { status: number; challenge: string | undefined }): ManifestAnswer {
  if (status !== 401 && status !== 403 && status !== 404) return { kind: "unfit" };
  return { kind: "refused", status, challenge, body: undefined, contentType: undefined };
}
