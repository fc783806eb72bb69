/**
 * `eagle cache stats`: how full a cache is, and who uses it.
 * @module
 */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { formatBytes } from "../../../lib/cli/quantities.ts";
import type { CachePlace } from "./place.ts";
import { storedBlobs } from "./stored.ts";

/** What is printed; sizes in bytes, times in ISO 8601. */
export interface CacheFacts {
  readonly rootDirectory: string;
  /** Id of the process that works on it; null: none. */
  readonly process: number | null;
  /** Where the blobs are stored that these are copies of; null: they are stored here. */
  readonly copiesOf: string | null;
  readonly blobs: number;
  readonly bytes: number;
  /** Null where it is not known. */
  readonly limitSize: number | null;
  /** Blobs of which a part is there: they arrive, or were given up. */
  readonly partial: number;
  readonly partialBytes: number;
  /** Blobs stored elsewhere of which single pieces are here, because they were asked for. */
  readonly ofPieces: number;
  readonly pieceBytes: number;
  readonly lastUsed: string | null;
  readonly longestUnused: string | null;
  readonly diskFree: number;
  readonly diskTotal: number;
}

export async function cacheFacts({
  storage,
  rootDirectory,
  owner,
  limitSize,
  copiesOf,
}: CachePlace): Promise<CacheFacts> {
  const blobs = await storedBlobs(storage);
  let [partial, partialBytes] = [0, 0];
  for await (const { size, diskBytes = size } of storage.listPartial()) {
    partial += 1;
    partialBytes += Math.min(size, diskBytes);
  }
  const pieces = await pieceFiles(rootDirectory);
  const { free, total } = await storage.freeSpace();
  const at = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());
  return {
    rootDirectory,
    process: owner ?? null,
    copiesOf: copiesOf ?? null,
    blobs: blobs.length,
    bytes: blobs.reduce((sum, { size }) => sum + size, 0),
    limitSize: limitSize ?? null,
    partial,
    partialBytes,
    ofPieces: pieces.count,
    pieceBytes: pieces.bytes,
    lastUsed: at(blobs[0]?.usedMs),
    longestUnused: at(blobs.at(-1)?.usedMs),
    diskFree: free,
    diskTotal: total,
  };
}

/** A seeder's pieces of what it stores elsewhere, as files with holes. */
async function pieceFiles(rootDirectory: string): Promise<{ count: number; bytes: number }> {
  const directory = join(rootDirectory, "hot");
  let [count, bytes] = [0, 0];
  for (const name of await readdir(directory).catch(() => [])) {
    // It may go any moment.
    const info = await stat(join(directory, name)).catch(() => undefined);
    if (!info) continue;
    count += 1;
    bytes += (info.blocks ?? 0) * 512;
  }
  return { count, bytes };
}

/** For people. */
export function factRows(facts: CacheFacts): [string, string][] {
  const { process, limitSize } = facts;
  const bytes = facts.bytes + facts.pieceBytes;
  const share = limitSize === null ? "" : ` of ${formatBytes(limitSize)} (${Math.round((bytes / limitSize) * 100)} %)`;
  return [
    ["directory", facts.rootDirectory],
    ["in use by", process === null ? "nobody" : `process ${process}`],
    ["blobs", facts.copiesOf === null ? String(facts.blobs) : `${facts.blobs}, copies of what is in ${facts.copiesOf}`],
    ["size", `${formatBytes(bytes)}${share}`],
    ["half-arrived", `${facts.partial}, ${formatBytes(facts.partialBytes)}`],
    ...(facts.ofPieces === 0
      ? []
      : [["pieces", `of ${facts.ofPieces} more blobs, ${formatBytes(facts.pieceBytes)}`] as [string, string]]),
    ["last used", facts.lastUsed ?? "-"],
    ["longest unused", facts.longestUnused ?? "-"],
    ["disk", `${formatBytes(facts.diskFree)} free of ${formatBytes(facts.diskTotal)}`],
  ];
}
