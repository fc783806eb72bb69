/**
 * @module
 * The blob cache: single flight, least recently used by bytes, pins, free-space watermark.
 */

export { BlobCache, type CallerOptions, type LoadEntry } from "./blob-cache.ts";
export {
  type BlobCacheInit,
  type Cacheable,
  CacheError,
  type CacheErrorCode,
  type Handle,
  type HandleSource,
  type LeaveReason,
  type Scraps,
  type SetTimer,
  type Timer,
} from "./cacheable.ts";
