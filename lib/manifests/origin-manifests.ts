/**
 * Manifests at their origin, in the name of somebody.
 * @module
 */
import type { HttpResponse } from "../http/client.ts";
import { hedged } from "../http/hedged.ts";
import { BodyTooLargeError, readBytes } from "../http/read-bytes.ts";
import { type Digest, isDigest, parseDigest } from "../registry/digest.ts";
import { RegistryError, registryErrorCode } from "../registry/errors.ts";
import type { Caller, OriginClient } from "../registry/origin-client.ts";
import { contentLength, discard } from "../registry/redirects.ts";
import { manifestPath } from "../registry/request-path.ts";
import type { Accept } from "./accept.ts";
import {
  agrees,
  digestOf,
  isCheckable,
  isMediaType,
  MAX_MANIFEST_BYTES,
  type Manifest,
  type Place,
  type Resolved,
} from "./manifest.ts";

/** What the origin says. */
export type OriginAnswer =
  | { readonly kind: "resolved"; readonly resolved: Resolved }
  | { readonly kind: "manifest"; readonly resolved: Manifest }
  | Refusal
  /** Nothing that is kept: too large, of a kind whose digest cannot be checked, an answer of its own sort. */
  | { readonly kind: "unfit" };

/** The origin does not let this caller have it, or has it not: 401, 403, 404. */
export interface Refusal {
  readonly kind: "refused";
  readonly status: number;
  /** `WWW-Authenticate`, verbatim. */
  readonly challenge: string | undefined;
  /** The origin's own words, shortened. */
  readonly body: Uint8Array | undefined;
  readonly contentType: string | undefined;
}

/** A question to an origin. */
export interface OriginQuestion {
  readonly place: Place;
  /** Tag or digest. */
  readonly reference: string;
  readonly accept: Accept;
  readonly caller: Caller;
  readonly signal: AbortSignal;
}

export interface OriginManifestsInit {
  readonly origins: Pick<OriginClient, "request">;
  /** Longest wait for the head of an answer, ms; after half of it the question is sent once more. @default 5000 */
  readonly timeoutMs?: number;
  /** An origin that could not be reached is not asked again for so long, ms. @default 2000 */
  readonly restMs?: number;
  /** Monotonic, ms. */
  readonly now?: () => number;
}

const MAX_REFUSAL_BYTES = 16 * 1024;
/** A manifest whose bytes were not those of its digest is read once more. */
const ATTEMPTS = 2;

/** See the module. Holds nothing that needs closing. */
export class OriginManifests {
  readonly #origins: Pick<OriginClient, "request">;
  readonly #timeoutMs: number;
  readonly #restMs: number;
  readonly #now: () => number;
  readonly #down = new Map<string, { until: number; error: RegistryError }>();

  constructor({ origins, timeoutMs = 5000, restMs = 2000, now = () => performance.now() }: OriginManifestsInit) {
    this.#origins = origins;
    this.#timeoutMs = timeoutMs;
    this.#restMs = restMs;
    this.#now = now;
  }

  /**
   * Asks by HEAD what a tag or digest stands for.
   * @returns unfit as well where the registry knows no HEAD, or does not say the digest
   * @throws RegistryError: unavailable, timeout, rate_limited, protocol, aborted
   */
  async head(question: OriginQuestion): Promise<OriginAnswer> {
    const response = await this.#send("HEAD", question);
    discard(response, "HEAD");
    if (response.status !== 200) return await this.#otherwise(response, question, "HEAD");
    const { mediaType, digest: told } = headOf(response);
    const digest = isDigest(question.reference) ? parseDigest(question.reference) : told;
    const size = contentLength(response.headers);
    if (!mediaType || !digest || size === undefined || !isKept(mediaType, question)) return { kind: "unfit" };
    return { kind: "resolved", resolved: { digest, mediaType, size } };
  }

  /**
   * Reads the manifest. Its bytes agree with the digest that was asked for, or that the origin said.
   * @throws RegistryError as {@link head}; protocol where the bytes do not agree
   */
  async get(question: OriginQuestion): Promise<OriginAnswer> {
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#read(question);
      if (answer !== "mismatch") return answer;
      if (attempt < ATTEMPTS) continue;
      throw new RegistryError("protocol", `${nameOf(question)}: the registry sends bytes that are not its digest's`, {
        status: 200,
      });
    }
  }

  async #read(question: OriginQuestion): Promise<OriginAnswer | "mismatch"> {
    const response = await this.#send("GET", question);
    if (response.status !== 200) return await this.#otherwise(response, question, "GET");
    const { mediaType, digest: told } = headOf(response);
    const asked = isDigest(question.reference) ? parseDigest(question.reference) : undefined;
    const length = contentLength(response.headers) ?? 0;
    if (!mediaType || !isKept(mediaType, question) || isEncoded(response) || length > MAX_MANIFEST_BYTES) {
      discard(response);
      return { kind: "unfit" };
    }
    let bytes: Uint8Array;
    try {
      bytes = await readBytes(response.body, MAX_MANIFEST_BYTES);
    } catch (cause) {
      if (cause instanceof BodyTooLargeError) return { kind: "unfit" };
      throw this.#failed(cause, question);
    }
    const digest = asked ?? told ?? digestOf(bytes);
    if (!agrees(bytes, digest) || (told && !agrees(bytes, told))) return "mismatch";
    return { kind: "manifest", resolved: { digest, mediaType, size: bytes.length, bytes } };
  }

  async #send(method: "GET" | "HEAD", question: OriginQuestion): Promise<HttpResponse> {
    const { place, reference, accept, caller, signal } = question;
    const { upstream, repository } = place;
    const down = this.#down.get(upstream.name);
    if (down && down.until > this.#now()) throw down.error;
    this.#down.delete(upstream.name);
    try {
      const request = {
        method,
        path: manifestPath(repository, reference),
        headers: {
          "accept-encoding": "identity",
          ...(accept.header === undefined ? {} : { accept: accept.header }),
        },
        caller,
        headersTimeoutMs: this.#timeoutMs,
      };
      const ask = (wanted: AbortSignal) => this.#origins.request(upstream, { ...request, signal: wanted });
      return await hedged(ask, { afterMs: this.#timeoutMs / 2, signal });
    } catch (cause) {
      throw this.#failed(cause, question);
    }
  }

  #failed(cause: unknown, question: OriginQuestion): RegistryError {
    const error =
      cause instanceof RegistryError
        ? cause
        : new RegistryError("unavailable", `${nameOf(question)}: ${cause instanceof Error ? cause.message : cause}`, {
            cause,
          });
    const isSilent = error.status === undefined && (error.code === "timeout" || error.code === "unavailable");
    if (isSilent && !question.signal.aborted) {
      this.#down.set(question.place.upstream.name, { until: this.#now() + this.#restMs, error });
    }
    return error;
  }

  /** Any answer but 200. @throws RegistryError of an origin that is out of order */
  async #otherwise(response: HttpResponse, question: OriginQuestion, method: string): Promise<OriginAnswer> {
    const { status, headers } = response;
    if (status === 401 || status === 403 || status === 404) {
      return {
        kind: "refused",
        status,
        challenge: headers.get("www-authenticate") ?? undefined,
        body: method === "HEAD" ? undefined : await shortBody(response),
        contentType: headers.get("content-type") ?? undefined,
      };
    }
    if (method !== "HEAD") discard(response);
    if (status !== 429 && status < 500) return { kind: "unfit" };
    // A registry that knows no HEAD may know the rest.
    if (method === "HEAD" && status === 501) return { kind: "unfit" };
    throw new RegistryError(registryErrorCode(status), `${nameOf(question)}: the registry answers ${status}`, {
      status,
    });
  }
}

/** Whether the origin is out of order, rather than having said something: then an earlier answer of its may do. */
export function isDown(error: unknown): error is RegistryError {
  return error instanceof RegistryError && ["unavailable", "timeout", "rate_limited"].includes(error.code);
}

function headOf({ headers }: HttpResponse): { mediaType: string | undefined; digest: Digest | undefined } {
  const mediaType = headers.get("content-type") ?? "";
  const told = headers.get("docker-content-digest") ?? "";
  return {
    mediaType: isMediaType(mediaType) ? mediaType : undefined,
    digest: isDigest(told) ? parseDigest(told) : undefined,
  };
}

/** What was not asked for is the registry's own affair. */
function isKept(mediaType: string, { accept }: OriginQuestion): boolean {
  return isCheckable(mediaType) && accept.admits(mediaType);
}

function isEncoded({ headers }: HttpResponse): boolean {
  const encoding = headers.get("content-encoding");
  return encoding !== null && encoding !== "" && encoding.toLowerCase() !== "identity";
}

async function shortBody(response: HttpResponse): Promise<Uint8Array | undefined> {
  try {
    return await readBytes(response.body, MAX_REFUSAL_BYTES);
  } catch {
    return undefined;
  }
}

function nameOf({ place, reference }: OriginQuestion): string {
  return `manifest ${reference} of ${place.upstream.name}/${place.repository}`;
}
