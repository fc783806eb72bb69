/**
 * @module
 * The S3 backend's door.
 */

import { RemoteStorage, type RemoteStorageOptions } from "../remote/remote-storage.ts";
import type { S3Config } from "./config.ts";
import { S3Store } from "./s3-store.ts";

/** What a storage in a bucket needs. */
export interface S3StorageOptions extends RemoteStorageOptions {
  readonly s3: S3Config;
}

/**
 * Opens a storage whose blobs are in a bucket.
 *
 * @throws StorageError "io" when the bucket cannot be used; those of `RemoteStorage.open`
 */
export async function openS3Storage({ s3, ...options }: S3StorageOptions): Promise<RemoteStorage> {
  const store = await S3Store.open(s3, options.log ? { log: options.log } : {});
  try {
    return await RemoteStorage.open(store, options);
  } catch (error) {
    await store.close();
    throw error;
  }
}
