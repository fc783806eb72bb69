/**
 * @module What a right pull is.
 */
import assert from "node:assert/strict";
import { type BlobRead, blobUrl, type ReadOptions, readBlob } from "./blob-reader.ts";
import type { EagleApp } from "./eagle.ts";
import type { Descriptor } from "./image.ts";

/** A read that may take no longer, in ms; a bound against hanging, no measure of speed. */
const longest = 120_000;

/** Fails unless the read brought the whole blob and nothing else. */
export function assertWhole(read: BlobRead, blob: Descriptor): void {
  assert.equal(read.status, 200, read.text);
  assert.equal(read.error, undefined);
  assert.ok(read.complete, `the body ended after ${read.size} of ${blob.size} bytes`);
  assert.equal(read.size, blob.size);
  assert.equal(read.digest, blob.digest);
}

/**
 * Pulls a blob through a proxy and checks it.
 * @throws AssertionError, or the socket's error when there was no answer.
 */
export async function pullBlob(
  proxy: EagleApp,
  repository: string,
  blob: Descriptor,
  options: ReadOptions = {},
): Promise<BlobRead> {
  const signal = options.signal ?? AbortSignal.timeout(longest);
  const read = await readBlob(blobUrl(proxy.url, repository, blob.digest), { ...options, signal });
  assertWhole(read, blob);
  return read;
}

/**
 * Fails unless an answer is an error as OCI registries tell it: `{errors: [{code, message}]}`.
 * @see OCI distribution-spec, "Error Codes"
 */
export function assertOciError(read: { status: number; text: string }, statuses: readonly number[]): void {
  assert.ok(statuses.includes(read.status), `${read.status} is none of ${statuses}: ${read.text}`);
  const { errors } = JSON.parse(read.text) as { errors?: { code?: unknown; message?: unknown }[] };
  assert.ok(errors !== undefined && errors.length > 0, read.text);
  assert.equal(typeof errors[0]!.code, "string");
}
