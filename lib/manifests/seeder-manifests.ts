/**
 * Asks the seeders about manifests that anyone may read, so that many hosts are one reader of the registry. One seeder
 * answers for one repository (rendezvous), as long as it lives. All of it is within a short budget: whatever a seeder
 * does not answer, the registry is asked.
 * @module
 */
import type { ClusterHttp } from "../cluster/cluster-http.ts";
import type { HttpResponse } from "../http/client.ts";
import { withPatience } from "../http/patience.ts";
import { readBytes } from "../http/read-bytes.ts";
import { type Logger, silentLogger } from "../log/log.ts";
import { type Digest, isDigest, parseDigest } from "../registry/digest.ts";
import { contentLength, discard } from "../registry/redirects.ts";
import { manifestPath } from "../registry/request-path.ts";
import { Balancer } from "../rpc/balancer.ts";
import type { Accept } from "./accept.ts";
import { agrees, isMediaType, MAX_MANIFEST_BYTES, type Manifest, type Place, type Resolved } from "./manifest.ts";

/** The route at a seeder. */
export const SEEDER_ROUTE = "/eagle/v1/manifests";

/** What a seeder tells. */
export interface SeederAnswer {
  readonly resolved: Resolved | Manifest;
  /** How old the origin's word is, ms; the seeder's own clock. */
  readonly ageMs: number;
  /** The origin did not answer the seeder: this is what it said earlier. */
  readonly isStale: boolean;
}

/** A question to the seeders. */
export interface SeederQuestion {
  readonly place: Place;
  /** Tag or digest. */
  readonly reference: string;
  readonly accept: Accept;
  /** False: what it stands for will do. */
  readonly wantsBytes: boolean;
  /** The manifest that the asker has: it is not sent again. */
  readonly have?: Manifest | undefined;
  readonly signal: AbortSignal;
}

export interface SeederManifestsInit {
  readonly seeders: readonly URL[];
  readonly http: Pick<ClusterHttp, "request">;
  /** All seeders together, ms. @default 3000 */
  readonly budgetMs?: number;
  /** One seeder, ms. @default 2000 */
  readonly attemptMs?: number;
  readonly log?: Logger;
  /** Monotonic, ms. */
  readonly now?: () => number;
}

/** See the module. Holds nothing that needs closing. */
export class SeederManifests {
  readonly #seeders: readonly URL[];
  readonly #http: Pick<ClusterHttp, "request">;
  readonly #budgetMs: number;
  readonly #attemptMs: number;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #balancer: Balancer;

  constructor({
    seeders,
    http,
    budgetMs = 3000,
    attemptMs = 2000,
    log = silentLogger,
    now = () => performance.now(),
  }: SeederManifestsInit) {
    this.#seeders = seeders;
    this.#http = http;
    this.#budgetMs = budgetMs;
    this.#attemptMs = attemptMs;
    this.#log = log;
    this.#now = now;
    this.#balancer = new Balancer({ names: seeders.map(String), policy: "rendezvous", now });
  }

  /**
   * @returns undefined when no seeder says what it is: whether it is private, missing, or they are out of order
   * @throws the signal's reason
   */
  async ask(question: SeederQuestion): Promise<SeederAnswer | undefined> {
    const { place, signal } = question;
    const end = this.#now() + this.#budgetMs;
    const key = `${place.upstream.name}/${place.repository}`;
    const asked = new Set<number>();
    while (this.#now() < end) {
      const lease = this.#balancer.choose({ key, excluded: asked });
      if (!lease) return undefined;
      asked.add(lease.endpoint);
      const seeder = this.#seeders[lease.endpoint]!;
      const patienceMs = Math.max(1, Math.ceil(Math.min(this.#attemptMs, end - this.#now())));
      try {
        const answer = await withPatience(patienceMs, (late) =>
          this.#attempt(seeder, question, AbortSignal.any([signal, late])),
        );
        lease.answered();
        return answer;
      } catch (error) {
        if (signal.aborted) {
          lease.abandoned();
          throw signal.reason;
        }
        lease.failed();
        this.#log.debug("a seeder does not tell a manifest", {
          seeder: seeder.host,
          ofWhat: question.reference,
          error,
        });
      }
    }
    return undefined;
  }

  async #attempt(seeder: URL, question: SeederQuestion, signal: AbortSignal): Promise<SeederAnswer | undefined> {
    const { place, reference, accept, wantsBytes, have } = question;
    const url = new URL(seeder.origin + seeder.pathname.replace(/\/+$/, "") + SEEDER_ROUTE);
    url.searchParams.set("url", new URL(manifestPath(place.repository, reference), place.upstream.base).href);
    const response = await this.#http.request(url, {
      method: wantsBytes ? "GET" : "HEAD",
      headers: {
        ...(accept.header === undefined ? {} : { accept: accept.header }),
        ...(have && wantsBytes ? { "if-none-match": `"${have.digest}"` } : {}),
      },
      signal,
    });
    const { status, headers } = response;
    if (status === 304 && have) {
      discard(response);
      return { ...timesOf(headers), resolved: have };
    }
    if (status !== 200) {
      discard(response, wantsBytes ? "GET" : "HEAD");
      // Broken, rather than unwilling.
      if (status === 500) throw new Error(`the seeder answered ${status}`);
      return undefined;
    }
    const resolved = wantsBytes ? await manifestOf(response) : resolvedOf(response);
    const isAsked = !isDigest(reference) || resolved?.digest.toString() === reference;
    if (!resolved || !isAsked || !accept.admits(resolved.mediaType)) {
      throw new Error("the seeder's answer is not what was asked for");
    }
    return { ...timesOf(headers), resolved };
  }
}

function resolvedOf(response: HttpResponse): Resolved | undefined {
  discard(response, "HEAD");
  const { headers } = response;
  const size = contentLength(headers);
  const told = digestAndType(headers);
  return told && size !== undefined ? { ...told, size } : undefined;
}

async function manifestOf(response: HttpResponse): Promise<Manifest | undefined> {
  const told = digestAndType(response.headers);
  if (!told) {
    discard(response);
    return undefined;
  }
  const bytes = await readBytes(response.body, MAX_MANIFEST_BYTES);
  return agrees(bytes, told.digest) ? { ...told, size: bytes.length, bytes } : undefined;
}

function digestAndType(headers: Headers): { digest: Digest; mediaType: string } | undefined {
  const digest = headers.get("docker-content-digest") ?? "";
  const mediaType = headers.get("content-type") ?? "";
  return isDigest(digest) && isMediaType(mediaType) ? { digest: parseDigest(digest), mediaType } : undefined;
}

function timesOf(headers: Headers): { ageMs: number; isStale: boolean } {
  const age = headers.get("age");
  return {
    ageMs: age !== null && /^\d{1,9}$/.test(age) ? Number(age) * 1000 : 0,
    isStale: headers.get("warning") !== null,
  };
}
