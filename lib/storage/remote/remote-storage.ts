/**
 * @module
 * A storage whose blobs are objects elsewhere: `data/<id>.layer` and `torrents/<id>.torrent` under the store's own
 * prefix. The root directory holds what is on its way in, and the hot tier. Nothing is deleted elsewhere but by `delete`.
 */

import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import type { Logger } from "../../log/log.ts";
import { fileStream } from "../file-stream.ts";
import { FsStorage } from "../fs.ts";
import type { ObjectRead, ObjectStore } from "../object-store.ts";
import {
  type BlobEntry,
  BlobNotFoundError,
  type BlobReader,
  type BlobShape,
  type BlobSource,
  type BlobStat,
  type ByteRange,
  checkBlobId,
  checkPrefix,
  type DiskSpace,
  isBlobId,
  type RemoteAccess,
  type Storage,
  StorageError,
  type StorageOptions,
  type UploadOptions,
} from "../storage.ts";
import { BlockCache } from "./block-cache.ts";
import { Gate } from "./gate.ts";
import { HotTier } from "./hot-tier.ts";
import { RemoteBlob, type RemoteBlobs } from "./remote-blob.ts";

/** Memory of pieces that were just read, bytes. */
const blockBudget = 12 * 1024 * 1024;
/** Ranged reads at once, over all blobs. */
const readsAtOnce = 3;
const maxMetaInfo = 64 * 1024 * 1024;
const chunkBytes = 1 << 20;
/** Seconds that a link is good for. */
const linkSeconds = 3600;
const dataKey = /^data\/([0-9a-f]+)\.layer$/;

/** How a remote storage is opened. */
export interface RemoteStorageOptions extends StorageOptions {
  /** Most bytes of the hot tier. @default no limit */
  readonly limitSize?: number;
  /** Bytes to keep free on a disk of so many. @default none */
  readonly minFree?: (total: number) => number;
  /** Whether anybody may be sent to the store by a signed link. @default false */
  readonly links?: boolean;
  readonly log?: Logger;
}

interface Parts {
  readonly objects: ObjectStore;
  readonly local: FsStorage;
  readonly hot: HotTier;
  readonly links: boolean;
}

/** See the module. */
export class RemoteStorage implements Storage {
  readonly remote: RemoteAccess;
  readonly #objects: ObjectStore;
  readonly #local: FsStorage;
  readonly #hot: HotTier;
  readonly #shared: RemoteBlobs;
  /** Deletions in order: of several that run at once one finds the blob. */
  readonly #deleting = new Map<string, Promise<unknown>>();

  private constructor({ objects, local, hot, links }: Parts) {
    this.#objects = objects;
    this.#local = local;
    this.#hot = hot;
    this.#shared = { objects, hot, blocks: new BlockCache(blockBudget), gate: new Gate(readsAtOnce) };
    this.remote = {
      objects,
      open: (id, shape) => this.#open(id, shape),
      keep: (id, path) => this.#keep(id, path),
      makeRoom: (bytes) => hot.makeRoom(bytes),
      copies: hot,
      link: async (id) => (links ? await objects.link(blobKey(id), linkSeconds) : undefined),
    };
  }

  /**
   * Opens the root directory for a store, which the storage closes.
   *
   * @throws StorageError "locked" when another process works on the directory, "io" or "no_space" when it cannot be used
   */
  static async open(objects: ObjectStore, options: RemoteStorageOptions): Promise<RemoteStorage> {
    const { limitSize = Number.POSITIVE_INFINITY, minFree = () => 0, links = false, log } = options;
    const local = await FsStorage.open(options);
    try {
      const hot = await HotTier.open({ local, limitSize, minFree, log });
      return new RemoteStorage({ objects, local, hot, links });
    } catch (error) {
      await local.close();
      throw error;
    }
  }

  async createWithMetaInfo(id: string, metainfo: Uint8Array): Promise<void> {
    await this.#objects.put(torrentKey(id), metainfo);
  }

  async readMetaInfo(id: string): Promise<Uint8Array> {
    const read = await this.#objects.get(torrentKey(id));
    if (!read) throw new BlobNotFoundError(id);
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of read.body) {
      size += part.length;
      if (size > maxMetaInfo) throw new StorageError("io", `the metainfo of blob ${id} has no end`);
      parts.push(part);
    }
    return new Uint8Array(Buffer.concat(parts));
  }

  async stat(id: string): Promise<BlobStat> {
    const info = await this.#objects.head(blobKey(id));
    if (!info) throw new BlobNotFoundError(id);
    return { size: info.size, modifiedMs: info.modifiedMs };
  }

  async upload(id: string, source: BlobSource, { signal, verify = false }: UploadOptions = {}): Promise<void> {
    const key = blobKey(id);
    signal?.throwIfAborted();
    const checked = (bytes: AsyncIterable<Uint8Array>) => (verify ? hashed(bytes, id) : bytes);
    // A Node file stream has a `path` too: it is a stream first.
    if (Symbol.asyncIterator in source) {
      await this.#objects.put(key, checked(source), signal ? { signal } : {});
      this.#hot.giveUp(id);
      return;
    }
    const { path } = source;
    let size: number;
    const handle = await open(path, "r").catch((cause: unknown) => {
      throw new StorageError("io", `cannot take over ${path} as blob ${id}`, { cause });
    });
    try {
      ({ size } = await handle.stat());
      const bytes = fileStream(handle, { start: 0, end: size });
      await this.#objects.put(key, checked(bytes), { size, ...(signal ? { signal } : {}) });
    } finally {
      await handle.close();
    }
    await this.#hot.keep(id, path, size);
  }

  async download(id: string, range: ByteRange = {}): Promise<ReadableStream<Uint8Array>> {
    const { size } = await this.stat(id);
    const { start = 0, end = size } = range;
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || start > end || end > size) {
      throw new StorageError("invalid_range", `bytes [${start}, ${end}) are not within the ${size} of blob ${id}`);
    }
    if (start === end) return new ReadableStream({ start: (controller) => controller.close() });
    const read = await this.#objects.get(blobKey(id), { start, end });
    if (!read) throw new BlobNotFoundError(id);
    return streamOf(read, { expected: end - start, what: `blob ${id}` });
  }

  async delete(id: string): Promise<void> {
    const keys = [blobKey(id), torrentKey(id)];
    const before = this.#deleting.get(id);
    const deletion = (async () => {
      await before?.catch(() => {});
      this.#hot.giveUp(id);
      const found = await Promise.all(keys.map((key) => this.#objects.head(key)));
      if (found.every((info) => info === undefined)) throw new BlobNotFoundError(id);
      // The blob goes first, as everywhere.
      for (const key of keys) await this.#objects.delete(key);
    })();
    this.#deleting.set(id, deletion);
    try {
      await deletion;
    } finally {
      if (this.#deleting.get(id) === deletion) this.#deleting.delete(id);
    }
  }

  async *list(prefix = ""): AsyncGenerator<BlobEntry> {
    for await (const { key, size, modifiedMs } of this.#objects.list(`data/${checkPrefix(prefix)}`)) {
      const id = dataKey.exec(key)?.[1];
      if (id !== undefined && isBlobId(id)) yield { id, size, modifiedMs };
    }
  }

  listPartial(): AsyncIterable<BlobEntry> {
    return this.#local.listPartial();
  }

  deletePartial(id: string): Promise<void> {
    return this.#local.deletePartial(id);
  }

  touch(id: string, usedMs: number): Promise<void> {
    return this.#local.touch(id, usedMs);
  }

  getPartialJournalPath(id: string): string {
    return this.#local.getPartialJournalPath(id);
  }

  getFilePath(id: string): string {
    return this.#local.getFilePath(id);
  }

  getTorrentFilePath(id: string): string {
    return this.#local.getTorrentFilePath(id);
  }

  getPartialPath(id: string): string {
    return this.#local.getPartialPath(id);
  }

  getDataDir(): string {
    return this.#local.getDataDir();
  }

  getTorrentDir(): string {
    return this.#local.getTorrentDir();
  }

  freeSpace(): Promise<DiskSpace> {
    return this.#local.freeSpace();
  }

  async close(): Promise<void> {
    await this.#hot.close();
    this.#shared.blocks.clear();
    await this.#objects.close();
    await this.#local.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #open(id: string, shape: BlobShape): BlobReader {
    return new RemoteBlob(checkBlobId(id), { key: blobKey(id), shape, shared: this.#shared });
  }

  async #keep(id: string, path: string): Promise<void> {
    const handle = await open(path, "r");
    const { size } = await handle.stat().finally(() => handle.close());
    await this.#hot.keep(id, path, size);
  }
}

function blobKey(id: string): string {
  return `data/${checkBlobId(id)}.layer`;
}

function torrentKey(id: string): string {
  return `torrents/${checkBlobId(id)}.torrent`;
}

/** Passes bytes on and throws at their end when they are not what `id` says. */
async function* hashed(source: AsyncIterable<Uint8Array>, id: string): AsyncGenerator<Uint8Array> {
  const hash = createHash(id.length === 128 ? "sha512" : "sha256");
  for await (const bytes of source) {
    hash.update(bytes);
    yield bytes;
  }
  if (hash.digest("hex") !== id) throw new StorageError("digest_mismatch", `what is to be stored is not blob ${id}`);
}

/** Chunks of at most 1 MiB, read when asked for; exactly `expected` bytes or an error. */
function streamOf(
  read: ObjectRead,
  { expected, what }: { expected: number; what: string },
): ReadableStream<Uint8Array> {
  const iterator = read.body[Symbol.asyncIterator]();
  let left: Uint8Array = new Uint8Array();
  let given = 0;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        while (left.length === 0) {
          const next = await iterator.next();
          if (next.done) {
            if (given < expected) throw new StorageError("io", `${what} ended after ${given} of ${expected} bytes`);
            return controller.close();
          }
          left = next.value;
        }
        const chunk = left.subarray(0, chunkBytes);
        left = left.subarray(chunk.length);
        given += chunk.length;
        if (given > expected) throw new StorageError("io", `${what} is longer than ${expected} bytes`);
        controller.enqueue(chunk);
      },
      cancel() {
        read.close();
      },
    },
    { highWaterMark: 0 },
  );
}
