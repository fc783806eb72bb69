/**
 * `eagle cache stats`: how full a cache is, and who uses it.
 * @module
 */
import { formatBytes } from "../../../lib/cli/quantities.ts";
import type { CachePlace } from "./place.ts";
import { storedBlobs } from "./stored.ts";

/** What is printed; sizes in bytes, times in ISO 8601. */
export interface CacheFacts {
  readonly rootDirectory: string;
  /** Id of the process that works on it; null: none. */
  readonly process: number | null;
  readonly blobs: number;
  readonly bytes: number;
  /** Null where it is not known. */
  readonly limitSize: number | null;
  /** Blobs of which a part is there: they arrive, or were given up. */
  readonly partial: number;
  readonly partialBytes: number;
  readonly lastUsed: string | null;
  readonly longestUnused: string | null;
  readonly diskFree: number;
  readonly diskTotal: number;
}

export async function cacheFacts({ storage, rootDirectory, owner, limitSize }: CachePlace): Promise<CacheFacts> {
  const blobs = await storedBlobs(storage);
  let [partial, partialBytes] = [0, 0];
  for await (const { size, diskBytes = size } of storage.listPartial()) {
    partial += 1;
    partialBytes += Math.min(size, diskBytes);
  }
  const { free, total } = await storage.freeSpace();
  const at = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());
  return {
    rootDirectory,
    process: owner ?? null,
    blobs: blobs.length,
    bytes: blobs.reduce((sum, { size }) => sum + size, 0),
    limitSize: limitSize ?? null,
    partial,
    partialBytes,
    lastUsed: at(blobs[0]?.usedMs),
    longestUnused: at(blobs.at(-1)?.usedMs),
    diskFree: free,
    diskTotal: total,
  };
}

/** For people. */
export function factRows(facts: CacheFacts): [string, string][] {
  const { process, limitSize, bytes } = facts;
  const share = limitSize === null ? "" : ` of ${formatBytes(limitSize)} (${Math.round((bytes / limitSize) * 100)} %)`;
  return [
    ["directory", facts.rootDirectory],
    ["in use by", process === null ? "nobody" : `process ${process}`],
    ["blobs", String(facts.blobs)],
    ["size", `${formatBytes(bytes)}${share}`],
    ["half-arrived", `${facts.partial}, ${formatBytes(facts.partialBytes)}`],
    ["last used", facts.lastUsed ?? "-"],
    ["longest unused", facts.longestUnused ?? "-"],
    ["disk", `${formatBytes(facts.diskFree)} free of ${formatBytes(facts.diskTotal)}`],
  ];
}
