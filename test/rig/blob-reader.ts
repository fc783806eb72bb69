/**
 * @module Reads a blob as a client would and tells what came: status, size, hash, and how it ended. A cut body is a
 * result here and no exception, since tests ask exactly for that.
 */
import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { type CallOptions, open } from "./http-call.ts";

/** How to read. */
export interface ReadOptions extends CallOptions {
  /** Stop after so many bytes and leave. */
  leaveAfter?: number;
  /** Read no faster than so many bytes a second. */
  rate?: number;
  /** Called with the bytes read so far. */
  onProgress?: (bytes: number) => void;
}

/** What came. */
export interface BlobRead {
  status: number;
  headers: IncomingHttpHeaders;
  /** Bytes of the body. */
  size: number;
  /** `sha256:<hex>` of the body as far as it came. */
  digest: string;
  /** The body came whole by its own account (Content-Length or last chunk). */
  complete: boolean;
  /** Why it did not. */
  error: Error | undefined;
  /** The first 4 KiB of the body as text, for error messages. */
  text: string;
}

/**
 * Reads one blob, or whatever the URL names.
 * @throws the socket's error when no answer came at all.
 */
export async function readBlob(url: URL | string, options: ReadOptions = {}): Promise<BlobRead> {
  const { leaveAfter = Number.POSITIVE_INFINITY, rate, onProgress, ...request } = options;
  const response = await open(url, request);
  const hash = createHash("sha256");
  const started = performance.now();
  let size = 0;
  let text = "";
  let error: Error | undefined;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      hash.update(chunk);
      if (size < 4096) text += chunk.toString("latin1", 0, 4096);
      size += chunk.length;
      onProgress?.(size);
      if (size >= leaveAfter) break;
      if (rate !== undefined) await sleep(Math.max(0, (size / rate) * 1000 - (performance.now() - started)));
    }
  } catch (cause) {
    error = cause as Error;
  }
  const complete = response.complete && error === undefined && size < leaveAfter;
  const digest = `sha256:${hash.digest("hex")}`;
  return { status: response.statusCode ?? 0, headers: response.headers, size, digest, complete, error, text };
}

/** The URL of a blob at a mirror or registry. */
export function blobUrl(base: URL, repository: string, digest: string, ns?: string): URL {
  return new URL(`/v2/${repository}/blobs/${digest}${ns === undefined ? "" : `?ns=${ns}`}`, base);
}
