/**
 * What origins have said about who may have what, within bounds (docs/design.md, "Who may"):
 * - a right: these credentials may read in this repository
 * - a membership: this repository has this blob; seen by a HEAD, or only named by a manifest
 * - a refusal: what this caller was told about this blob
 * Credentials are kept as a keyed hash, with a key of this process.
 * @module
 */
import { createHmac, randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Digest } from "../registry/digest.ts";
import type { Caller } from "../registry/origin-client.ts";
import type { Upstream } from "../registry/upstreams.ts";

/** What is asked about. */
export interface Place {
  readonly upstream: Upstream;
  readonly repository: string;
  readonly digest: Digest;
}

/** A membership. Times are monotonic ms. */
export interface Membership {
  readonly at: number;
  /** The origin answered 200 for this very blob. A manifest only names it, and some registries check no manifest. */
  readonly seen: boolean;
  /** Bytes, where the origin told. */
  readonly size: number | undefined;
}

/** A refusal. */
export interface Refusal {
  readonly at: number;
  readonly status: number;
  /** `WWW-Authenticate`, verbatim. */
  readonly challenge: string | undefined;
}

/** See the module. */
export class Answers {
  readonly #key = randomBytes(32);
  readonly #eachBlob: boolean;
  readonly #rights: LRUCache<string, number>;
  readonly #members: LRUCache<string, Membership>;
  readonly #refusals: LRUCache<string, Refusal>;
  /** Repositories that refused the anonymous, since when. */
  readonly #closed: LRUCache<string, number>;

  /** @param init.eachBlob A right is one to a single blob. @param init.max Entries of each kind at most. */
  constructor({ eachBlob, max }: { eachBlob: boolean; max: number }) {
    this.#eachBlob = eachBlob;
    this.#rights = new LRUCache({ max });
    this.#members = new LRUCache({ max });
    this.#refusals = new LRUCache({ max: Math.min(max, 10_000) });
    this.#closed = new LRUCache({ max: Math.min(max, 10_000) });
  }

  /** What a question is known by. */
  nameOf(place: Place, caller: Caller): string {
    return `${blobKey(place)} ${this.#who(caller)}`;
  }

  /** Since when a caller has a right here; undefined: not known to have one. */
  right(place: Place, caller: Caller): number | undefined {
    return this.#rights.get(this.#rightKey(place, caller));
  }

  membership(place: Place): Membership | undefined {
    return this.#members.get(blobKey(place));
  }

  refusal(place: Place, caller: Caller): Refusal | undefined {
    return this.#refusals.get(this.nameOf(place, caller));
  }

  /** Since when the repository is known to refuse the anonymous. */
  closedSince({ upstream, repository }: Pick<Place, "upstream" | "repository">): number | undefined {
    return this.#closed.get(`${upstream.name} ${repository}`);
  }

  /** The origin gave this blob to this caller. */
  allow(place: Place, caller: Caller, { at, size }: { at: number; size: number | undefined }): void {
    this.grant(place, caller, at);
    this.#members.set(blobKey(place), { at, seen: true, size });
    this.#refusals.delete(this.nameOf(place, caller));
  }

  /** The origin gave something of this repository to this caller. */
  grant(place: Place, caller: Caller, at: number): void {
    this.#rights.set(this.#rightKey(place, caller), at);
    if (isAnonymous(caller)) this.#closed.delete(`${place.upstream.name} ${place.repository}`);
  }

  /** The origin refused this caller as such. */
  refuse(place: Place, caller: Caller, refusal: Refusal): void {
    this.revoke(place, caller);
    this.#refusals.set(this.nameOf(place, caller), refusal);
    if (isAnonymous(caller)) this.#closed.set(`${place.upstream.name} ${place.repository}`, refusal.at);
  }

  revoke(place: Place, caller: Caller): void {
    this.#rights.delete(this.#rightKey(place, caller));
  }

  /** A manifest that the repository has names the blob. */
  name(place: Place, at: number): void {
    const key = blobKey(place);
    if (!this.#members.peek(key)?.seen) this.#members.set(key, { at, seen: false, size: undefined });
  }

  /** The repository does not have this any more. */
  drop(place: Place): void {
    this.#members.delete(blobKey(place));
  }

  #rightKey(place: Place, caller: Caller): string {
    const where = this.#eachBlob ? blobKey(place) : `${place.upstream.name} ${place.repository}`;
    return `${where} ${this.#who(caller)}`;
  }

  #who(caller: Caller): string {
    if (isAnonymous(caller)) return "anonymous";
    if (caller.kind !== "caller") return caller.kind;
    return createHmac("sha256", this.#key)
      .update(caller.authorization ?? "")
      .digest("base64url");
  }
}

/** No credentials, in whatever way they were not given. */
export function isAnonymous(caller: Caller): boolean {
  return caller.kind === "anonymous" || (caller.kind === "caller" && caller.authorization === undefined);
}

function blobKey({ upstream, repository, digest }: Place): string {
  return `${upstream.name} ${repository} ${digest}`;
}
