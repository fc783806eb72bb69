/**
 * Mirrors of registries: whom a request goes to before its registry, and what of an answer counts.
 *
 * As containerd does it: in order, the registry last; whoever cannot be reached, or answers with an error, is passed
 * over. Only blobs and manifests are read from mirrors. A caller's own credentials are for the registry alone, so what
 * is asked with them goes to it at once; the operator's for the registry are not shown to a mirror either.
 * @module
 */
import type { HttpResponse } from "../http/client.ts";
import type { Caller, OriginRequest } from "./origin-client.ts";
import type { Mirror, Upstream } from "./upstreams.ts";

/** A mirror that could not be reached is passed over for so long, ms. */
const REST_MS = 10_000;
/** Longest wait for the head of a mirror's answer, ms. A mirror may have to fetch a blob first. */
const HEADERS_MS = { short: 3000, blob: 15_000 };

/** One request to one mirror. */
export interface MirrorAttempt {
  readonly mirror: Mirror;
  readonly request: OriginRequest;
}

/** Which mirrors rest. */
export class Mirrors {
  readonly #restUntil = new Map<string, number>();
  readonly #now: () => number;

  /** @param init.now monotonic, ms */
  constructor({ now = () => performance.now() }: { now?: (() => number) | undefined } = {}) {
    this.#now = now;
  }

  /** In their order: those to ask before the registry, and those that rest, for when nobody else answers. */
  attempts(upstream: Upstream, init: OriginRequest): { first: MirrorAttempt[]; resting: MirrorAttempt[] } {
    const attempts: { first: MirrorAttempt[]; resting: MirrorAttempt[] } = { first: [], resting: [] };
    const caller = callerFor(init.caller);
    const below = repositoryPath(init);
    if (!upstream.mirrors || !caller || below === undefined) return attempts;
    for (const mirror of upstream.mirrors) {
      const path = `/v2/${mirror.prefix}${below}`;
      const most = init.method === "GET" && below.includes("/blobs/") ? HEADERS_MS.blob : HEADERS_MS.short;
      const request = {
        ...init,
        caller,
        // So a mirror of several registries knows which is meant.
        path: `${path}${path.includes("?") ? "&" : "?"}ns=${encodeURIComponent(upstream.name)}`,
        headersTimeoutMs: Math.min(init.headersTimeoutMs ?? most, most),
      };
      const rests = (this.#restUntil.get(mirror.base.origin) ?? Number.NEGATIVE_INFINITY) > this.#now();
      attempts[rests ? "resting" : "first"].push({ mirror, request });
    }
    return attempts;
  }

  /** It could not be reached. */
  rest({ base }: Mirror): void {
    this.#restUntil.set(base.origin, this.#now() + REST_MS);
  }
}

/** Whether a mirror's answer is one for the caller: an error may be the mirror's alone. */
export function isAnswer({ status }: HttpResponse): boolean {
  return status < 400 || status === 416;
}

/** What is below `/v2/`, with its query, of a request that mirrors may answer. */
function repositoryPath({ method, path, body }: OriginRequest): string | undefined {
  if ((method !== "GET" && method !== "HEAD") || body !== undefined) return undefined;
  return /^\/v2\/([^?#]+\/(?:blobs|manifests)\/[^/?#]+(?:\?[^#]*)?)$/.exec(path)?.[1];
}

/** In whose name a mirror is asked; undefined: not at all. */
function callerFor(caller: Caller): Caller | undefined {
  if (caller.kind !== "caller") return caller;
  return caller.authorization === undefined ? { kind: "anonymous" } : undefined;
}
