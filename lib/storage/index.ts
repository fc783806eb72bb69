/**
 * @module
 * The storage backends. A new one is a file, a line here, and the suite.
 */

import { FsStorage } from "./fs.ts";
import type { Storage, StorageOptions } from "./storage.ts";

/** Backends by the name that the configuration uses. */
export const storageBackends = {
  fs: (options: StorageOptions): Promise<Storage> => FsStorage.open(options),
};

/** A name that `storageBackends` knows. */
export type StorageBackend = keyof typeof storageBackends;

export { type FileStreamOptions, fileStream } from "./file-stream.ts";
export { FsStorage } from "./fs.ts";
export {
  type AbortOptions,
  type BlobEntry,
  BlobNotFoundError,
  type BlobSource,
  type BlobStat,
  type ByteRange,
  type DiskSpace,
  isBlobId,
  type Storage,
  StorageError,
  type StorageErrorCode,
  type StorageOptions,
} from "./storage.ts";
