/**
 * @module
 * The storage backends. A new one is a file, a line here, and the suite.
 */

import { FsStorage } from "./fs.ts";
import type { RemoteStorageOptions } from "./remote/remote-storage.ts";
import type { S3StorageOptions } from "./s3/index.ts";
import type { Storage, StorageOptions } from "./storage.ts";

/** Backends by the name that the configuration uses. What only some need is loaded when it is opened. */
export const storageBackends = {
  fs: (options: StorageOptions): Promise<Storage> => FsStorage.open(options),
  s3: async (options: S3StorageOptions): Promise<Storage> => (await import("./s3/index.ts")).openS3Storage(options),
  memory: async (options: RemoteStorageOptions): Promise<Storage> =>
    (await import("./memory.ts")).openMemoryStorage(options),
};

export { type FileStreamOptions, fileStream } from "./file-stream.ts";
export { FsStorage } from "./fs.ts";
export type { ObjectEntry, ObjectStore } from "./object-store.ts";
export type { RemoteStorageOptions } from "./remote/remote-storage.ts";
export type { OnDiskTrouble } from "./root-claim.ts";
export type { S3Config } from "./s3/config.ts";
export type { S3StorageOptions } from "./s3/index.ts";
export {
  type AbortOptions,
  type BlobEntry,
  BlobNotFoundError,
  type BlobReader,
  type BlobShape,
  type BlobSource,
  type BlobStat,
  type ByteRange,
  type Copies,
  type DiskSpace,
  isBlobId,
  type RemoteAccess,
  type Storage,
  StorageError,
  type StorageErrorCode,
  type StorageOptions,
  type UploadOptions,
} from "./storage.ts";
