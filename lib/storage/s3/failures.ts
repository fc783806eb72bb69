/**
 * @module
 * What a bucket's refusals mean.
 */

import { StorageError } from "../storage.ts";

interface ServiceFailure {
  readonly name?: string;
  readonly message?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** HTTP status of the answer that an error of the SDK tells of. */
export function statusOf(error: unknown): number | undefined {
  return (error as ServiceFailure | null)?.$metadata?.httpStatusCode;
}

/** Whether the object (and not its bucket) is missing. */
export function isMissing(error: unknown): boolean {
  const { name } = error as ServiceFailure;
  return name !== "NoSuchBucket" && (name === "NoSuchKey" || name === "NotFound" || statusOf(error) === 404);
}

/** Whether a condition of the request did not hold. */
export function isConflict(error: unknown): boolean {
  return statusOf(error) === 412 || statusOf(error) === 409;
}

/** The SDK's error as a StorageError that says what to do. */
export function failureOf(about: string, bucket: string, cause: unknown): StorageError {
  if (cause instanceof StorageError) return cause;
  const { name = "Error", message = "" } = cause as ServiceFailure;
  const status = statusOf(cause);
  if (status === 507 || name === "QuotaExceeded" || name === "XMinioStorageFull") {
    return new StorageError("no_space", `${about}: ${bucket} is full (${name})`, { cause });
  }
  const hint =
    name === "NoSuchBucket"
      ? "; make the bucket, or set seederCfg.s3.bucket"
      : status === 403 || name === "CredentialsProviderError"
        ? "; check seederCfg.s3's credentials, region and the bucket's policy"
        : "";
  return new StorageError("io", `${about}: ${bucket} says ${name}${message === "" ? "" : `: ${message}`}${hint}`, {
    cause,
  });
}
