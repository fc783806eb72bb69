/**
 * A blob for the engine: from the cache, from the swarm, and whatever happens from the registry.
 * @module
 */

import type { Verdict } from "../../../lib/access/access.ts";
import { firstByte } from "../../../lib/bt/blob-source.ts";
import { isEmptyBlob } from "../../../lib/bt/blob-url.ts";
import { BlobError } from "../../../lib/bt/errors.ts";
import type { LiveBlob } from "../../../lib/bt/live-blob.ts";
import { registryOrigin } from "../../../lib/bt/registry-origin.ts";
import { resilientSource } from "../../../lib/bt/resilient-source.ts";
import { impatientMs } from "../../../lib/bt/time-bounds.ts";
import type { Handle } from "../../../lib/cache/index.ts";
import { rangeResponse } from "../../../lib/http/file-response.ts";
import { hedged } from "../../../lib/http/hedged.ts";
import { afterPatience, withPatience } from "../../../lib/http/patience.ts";
import { parseRange } from "../../../lib/http/ranges.ts";
import type { Digest } from "../../../lib/registry/digest.ts";
import { type OciErrorCode, ociError } from "../../../lib/registry/errors.ts";
import type { Upstream } from "../../../lib/registry/upstreams.ts";
import type { ProxyParts } from "../cmd/parts.ts";
import { passThrough, readerOf, unavailable } from "./pass-through.ts";

/** When so much of the time to the first byte is over, the answer begins without one. */
const BEGIN_SHARE = 0.9;

export interface BlobQuery {
  readonly upstream: Upstream;
  readonly repository: string;
  readonly digest: Digest;
  /** Path at the registry. */
  readonly path: string;
  /** The caller's own, with its question mark; empty without one. It goes where the request itself goes. */
  readonly query: string;
}

/** Answers GET and HEAD of a blob. */
export async function serveBlob(request: Request, query: BlobQuery, parts: ProxyParts): Promise<Response> {
  const began = performance.now();
  const { upstream, repository, digest } = query;
  if (isEmptyBlob(digest)) return wholeResponse(request, digest, 0, () => new Blob([]).stream());
  const authorization = request.headers.get("authorization") ?? undefined;
  const { signal } = request;
  const isPrivateHere = await parts.store.isPrivate(digest, { signal });
  const verdict = await parts.access.check({ upstream, repository, digest, authorization, isPrivateHere, signal });
  if (verdict.kind === "refused") {
    const code = REFUSALS[verdict.status];
    return code ? refusal(verdict, code, query) : await direct(request, query, parts);
  }
  if (request.method === "HEAD") return await headBlob(request, verdict, query, parts);
  if (verdict.kind === "allowed") {
    const bypasses = !verdict.isPublic && parts.authorize === "never";
    if (bypasses || (verdict.size !== undefined && !(await parts.store.takes(digest, verdict.size))))
      return await direct(request, query, parts);
  } else if (parts.authorize === "always") {
    return await unasked(request, verdict, query, parts);
  }
  return await fromSwarm(request, { ...query, verdict, began }, parts);
}

/** A blob that may be served. */
interface BlobAnswer extends BlobQuery {
  readonly verdict: Verdict;
  /** When it was asked for, monotonic ms. */
  readonly began: number;
}

async function fromSwarm(request: Request, query: BlobAnswer, parts: ProxyParts): Promise<Response> {
  const { verdict, began } = query;
  const { digest, upstream, repository } = query;
  let handle: Handle<LiveBlob>;
  const vouched = verdict.kind === "allowed" && verdict.confirmed;
  const origin = registryOrigin(parts.origins, {
    upstream,
    repository,
    digest,
    // Unless the origin said that this caller may, its credentials must not bring in what is then offered to anyone.
    caller: vouched ? readerOf(request, upstream) : { kind: "anonymous" },
    bounds: parts.bounds,
  });
  // Without the origin's word there is what others offer to anyone: that is public by their word.
  const isPublic = !vouched || verdict.isPublic;
  try {
    handle = await parts.client.acquire(
      digest,
      {
        isPublic,
        onlyPublic: !vouched,
        asPart: vouched,
        authorization: request.headers.get("authorization") ?? undefined,
        size: sizeOf(verdict),
        origin,
        url: new URL(query.path, upstream.base).href,
      },
      { signal: request.signal },
    );
  } catch (error) {
    return await withoutEagle(request, error, verdict, query, parts);
  }
  const { blob } = handle;
  try {
    const size = await begin(blob, request, query, parts);
    const response = rangeResponse(request, {
      size,
      etag: digest.toString(),
      contentType: "application/octet-stream",
      headers: blobHeaders(digest, sourceOf(handle, request, size)),
      open: (start, end) =>
        resilientSource(blob, {
          start,
          end,
          size,
          origin,
          buffers: parts.buffers,
          onBytes: (bytes) => parts.metrics.bytes.inc({ source: "client", direction: "out" }, bytes),
          onFailover: (position, error) => {
            parts.log.warn("the blob failed on this host: its registry goes on", {
              blob: digest.toString(),
              position,
              error,
            });
          },
          onClose: () => handle.release(),
        }),
    });
    parts.metrics.timeToFirstByte.observe((performance.now() - began) / 1000);
    if (!response.body) handle.release();
    return response;
  } catch (error) {
    handle.release();
    return await withoutEagle(request, error, verdict, query, parts);
  }
}

/** Bytes, as the origin told. */
function sizeOf(verdict: Verdict): number | undefined {
  return verdict.kind === "allowed" ? verdict.size : undefined;
}

/**
 * Waits until the first byte wanted is there, or for as long as a client may wait.
 * @returns the size of the blob
 * @throws BlobError unavailable when nobody tells it in time
 */
async function begin(blob: LiveBlob, request: Request, query: BlobAnswer, parts: ProxyParts): Promise<number> {
  const { verdict, began } = query;
  const { firstByteMs } = parts.bounds;
  const impatience = impatientMs(parts.bounds);
  let told = sizeOf(verdict);
  const first = async () => {
    await blob.waitFor(() => blob.layout !== undefined, request.signal);
    const size = blob.size!;
    const range = parseRange(request.headers.get("range"), size);
    if (range.kind === "unsatisfiable") return;
    const [start, end] = range.kind === "range" ? [range.start, range.end] : [0, size];
    await firstByte(blob, start, end, request.signal);
  };
  const waiting = first();
  // However long the registry thought about the caller, others get a moment.
  let left = Math.max(began + firstByteMs * BEGIN_SHARE - performance.now(), impatience);
  const wait = async (ms: number) => {
    left -= ms;
    return await within(waiting, ms);
  };
  const isHere = await wait(told === undefined ? Math.min(impatience, left) : left);
  if (!isHere && blob.size === undefined && told === undefined) {
    const asked = performance.now();
    told = await sizeTold(blob, request, query, { ms: left, parts });
    left = Math.max(0, left - (performance.now() - asked));
  }
  if (!isHere && !(await wait(left))) parts.metrics.timeouts.inc({ bound: "first_byte" });
  if (blob.size !== undefined && told !== undefined && blob.size !== told) {
    throw new BlobError("unavailable", `${blob.digest}: the registry says ${told} bytes, the seeder ${blob.size}`);
  }
  return blob.size ?? told!;
}

/**
 * An answer needs a size: that of the blob as it arrives, or of the registry, which may give it while its bytes keep
 * others waiting. A registry that let the caller have the blob is heard out: the request that would go past Eagle instead
 * would ask it just the same.
 * @param ms Left for the first byte.
 */
async function sizeTold(
  blob: LiveBlob,
  request: Request,
  { upstream, repository, digest, verdict }: BlobAnswer,
  { ms, parts }: { ms: number; parts: ProxyParts },
): Promise<number> {
  const arrived = async (signal: AbortSignal) => {
    await blob.waitFor(() => blob.size !== undefined, signal);
    return blob.size!;
  };
  const asked = async (signal: AbortSignal) => {
    const caller = readerOf(request, upstream);
    const ask = (signal: AbortSignal) => parts.origins.headBlob(upstream, repository, digest, { caller, signal });
    const { size } = await hedged(ask, { afterMs: ms / 2, signal });
    if (size === undefined) throw new BlobError("unavailable", `${upstream.name} does not tell the size of ${digest}`);
    return size;
  };
  const [ways, patienceMs] =
    verdict.kind === "allowed" ? [[arrived, asked], Math.max(ms, parts.bounds.headerMs)] : [[arrived], ms];
  try {
    return await withPatience(patienceMs, async (late) => {
      const signal = AbortSignal.any([request.signal, late]);
      return await Promise.any(ways.map((way) => way(signal)));
    });
  } catch (cause) {
    request.signal.throwIfAborted();
    throw blob.error ?? new BlobError("unavailable", `${digest}: nobody told its size in time`, { cause });
  }
}

/** @returns Whether it came in time. @throws What it throws in time. */
async function within(waiting: Promise<void>, ms: number): Promise<boolean> {
  waiting.catch(() => {});
  const late = Promise.withResolvers<false>();
  const end = afterPatience(Math.max(0, ms), () => late.resolve(false));
  try {
    return await Promise.race([waiting.then(() => true), late.promise]);
  } finally {
    end();
  }
}

/** Before the first byte went out the registry's own answer replaces whatever failed here. */
async function withoutEagle(
  request: Request,
  cause: unknown,
  verdict: Verdict,
  query: BlobQuery,
  parts: ProxyParts,
): Promise<Response> {
  request.signal.throwIfAborted();
  const error = BlobError.from(cause);
  parts.log.warn("a blob goes past Eagle", {
    blob: query.digest.toString(),
    origin: query.upstream.name,
    code: error.code,
    error: error.message,
  });
  if (error.code === "digest_mismatch") return ociError(502, "UNAVAILABLE", error.message);
  return verdict.kind === "unknown"
    ? await unasked(request, verdict, query, parts)
    : await direct(request, query, parts);
}

/** Where the origin could not be asked and nothing else will do. One that answers, if with an error, may answer this. */
async function unasked(
  request: Request,
  { error }: Extract<Verdict, { kind: "unknown" }>,
  query: BlobQuery,
  parts: ProxyParts,
): Promise<Response> {
  return error.status === undefined ? unavailable(error, query.upstream) : await direct(request, query, parts);
}

/** Straight from the registry. */
export async function direct(
  request: Request,
  { upstream, path, query }: BlobQuery,
  { origins, via, metrics }: ProxyParts,
): Promise<Response> {
  metrics.requests.inc({ result: "direct" });
  const caller = readerOf(request, upstream);
  const response = await passThrough(request, { origins, upstream, path: path + query, via, caller });
  response.headers.set("x-eagle-source", "origin");
  return response;
}

async function headBlob(request: Request, verdict: Verdict, query: BlobQuery, parts: ProxyParts): Promise<Response> {
  const { digest, upstream } = query;
  const { store } = parts;
  const handle = await store.peek(digest, { signal: request.signal });
  const known =
    handle && ((verdict.kind === "allowed" && verdict.confirmed) || handle.blob.isPublic)
      ? handle.blob.size
      : undefined;
  handle?.release();
  const size = known ?? (verdict.kind === "allowed" ? verdict.size : undefined);
  if (size !== undefined) return wholeResponse(request, digest, size, () => new Blob([]).stream());
  if (verdict.kind === "unknown") return unavailable(verdict.error, upstream);
  return await direct(request, query, parts);
}

function wholeResponse(
  request: Request,
  digest: Digest,
  size: number,
  open: () => ReadableStream<Uint8Array>,
): Response {
  const headers = blobHeaders(digest, "cache");
  return rangeResponse(request, {
    size,
    etag: digest.toString(),
    contentType: "application/octet-stream",
    headers,
    open,
  });
}

function blobHeaders(digest: Digest, source: string): Record<string, string> {
  return {
    "docker-content-digest": digest.toString(),
    "docker-distribution-api-version": "registry/2.0",
    "x-eagle-source": source,
  };
}

/** Where the first byte came from. */
function sourceOf(handle: Handle<LiveBlob>, request: Request, size: number): string {
  const { blob, source } = handle;
  const { layout, have } = blob;
  if (source === "cache") return "cache";
  const range = parseRange(request.headers.get("range"), size);
  const piece = layout && range.kind !== "unsatisfiable" ? layout.pieceAt(range.kind === "range" ? range.start : 0) : 0;
  return have?.has(piece) ? blob.sourceOf(piece) : "pending";
}

/** Answers of an origin that decide; any other is no decision. */
const REFUSALS: Readonly<Record<number, OciErrorCode>> = { 401: "UNAUTHORIZED", 403: "DENIED", 404: "BLOB_UNKNOWN" };

function refusal(
  { status, challenge }: Extract<Verdict, { kind: "refused" }>,
  code: OciErrorCode,
  { digest, upstream }: BlobQuery,
): Response {
  const response = ociError(status, code, `${upstream.name} answers ${status} for ${digest}`);
  if (challenge) response.headers.set("www-authenticate", challenge);
  return response;
}
