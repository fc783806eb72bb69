/**
 * @module
 * Answers GET and HEAD for an immutable byte string: whole, by range, or not at all when the client has it already
 * (RFC 9110, sections 13 and 14).
 */

import { type BodySource, bodyResponse } from "./direct-body.ts";
import { parseRange } from "./ranges.ts";

/** The representation that `rangeResponse` answers with. */
export interface RangeBody {
  /** Length of the whole representation in bytes. */
  size: number;
  /** Strong validator; quotes are added when they are missing. Without it `If-Range` never matches. */
  etag?: string;
  /** Value of `Content-Type`. */
  contentType: string;
  /** Further headers for every answer, 304 and 416 included. */
  headers?: HeadersInit;
  /**
   * Opens the bytes [start, end). Called at most once, never for HEAD, 304, 412 or 416. Whoever consumes the response
   * closes the stream or source (by reading it to its end or cancelling it).
   */
  open(start: number, end: number): ReadableStream<Uint8Array> | BodySource;
}

/**
 * Answers a GET or HEAD request: 200, 206, 304, 412, 416; 405 for other methods.
 *
 * HEAD ignores `Range`, which RFC 9110 (14.2) defines for GET alone. Of several ranges none is honoured: the answer is
 * the whole (200).
 */
export function rangeResponse(request: Request, body: RangeBody): Response {
  const headers = new Headers(body.headers);
  const etag = body.etag === undefined ? undefined : quoted(body.etag);
  if (etag !== undefined) {
    headers.set("etag", etag);
  }
  headers.set("accept-ranges", "bytes");
  if (request.method !== "GET" && request.method !== "HEAD") {
    headers.set("allow", "GET, HEAD");
    return new Response(null, { status: 405, headers });
  }
  const ifMatch = request.headers.get("if-match");
  if (ifMatch !== null && !matches(ifMatch, etag, { weak: false })) {
    return new Response(null, { status: 412, headers });
  }
  const ifNoneMatch = request.headers.get("if-none-match");
  if (ifNoneMatch !== null && matches(ifNoneMatch, etag, { weak: true })) {
    return new Response(null, { status: 304, headers });
  }
  headers.set("content-type", body.contentType);
  if (request.method === "HEAD") {
    headers.set("content-length", String(body.size));
    return new Response(null, { status: 200, headers });
  }
  const range = parseRange(rangeHeader(request, etag), body.size);
  if (range.kind === "unsatisfiable") {
    headers.delete("content-type");
    headers.set("content-range", `bytes */${body.size}`);
    return new Response(null, { status: 416, headers });
  }
  if (range.kind === "whole") {
    headers.set("content-length", String(body.size));
    return respond(body.open(0, body.size), { status: 200, headers });
  }
  headers.set("content-range", `bytes ${range.start}-${range.end - 1}/${body.size}`);
  headers.set("content-length", String(range.end - range.start));
  return respond(body.open(range.start, range.end), { status: 206, headers });
}

/** The Range header, unless an `If-Range` that does not hold takes it away (RFC 9110, 13.1.5: strong comparison). */
function rangeHeader(request: Request, etag: string | undefined): string | null {
  const ifRange = request.headers.get("if-range");
  return ifRange !== null && ifRange.trim() !== etag ? null : request.headers.get("range");
}

function matches(header: string, etag: string | undefined, { weak }: { weak: boolean }): boolean {
  if (header.trim() === "*") {
    return true;
  }
  return header.split(",").some((item) => {
    const tag = item.trim();
    return (weak && tag.startsWith("W/") ? tag.slice(2) : tag) === etag;
  });
}

function quoted(etag: string): string {
  return etag.startsWith('"') ? etag : `"${etag}"`;
}

function respond(body: ReadableStream<Uint8Array> | BodySource, init: ResponseInit): Response {
  if ("pull" in body) return bodyResponse(body, init);
  // The DOM types want chunks over plain ArrayBuffers; every runtime takes any Uint8Array.
  return new Response(body as ReadableStream<Uint8Array<ArrayBuffer>>, init);
}
