/**
 * @module
 * Blobs in a directory: `data/<id>.layer`, `torrents/<id>.torrent`, and what is on its way in under `partial/`.
 */

import { randomUUID } from "node:crypto";
import type { Dir, Stats } from "node:fs";
import {
  type FileHandle,
  lstat,
  open,
  opendir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  unlink,
  utimes,
} from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { abortable } from "./abortable.ts";
import { withReason } from "./disk-trouble.ts";
import { fileStream } from "./file-stream.ts";
import { RootClaim } from "./root-claim.ts";
import {
  type AbortOptions,
  type BlobEntry,
  BlobNotFoundError,
  type BlobSource,
  type BlobStat,
  type ByteRange,
  checkBlobId,
  checkPrefix,
  type DiskSpace,
  isBlobId,
  type Storage,
  StorageError,
  type StorageOptions,
} from "./storage.ts";

const blobSuffix = ".layer";
const torrentSuffix = ".torrent";
/** Of what a fetch notes about its partial file. */
const journalSuffix = ".pieces";
/** Marks drafts that only the process which writes them can finish; `open` sweeps those of its predecessor. */
const draftSuffix = ".draft";

/** Storage on a local file system. Data, torrents and partial files must be on one file system: publishing renames. */
export class FsStorage implements Storage {
  readonly #dataDir: string;
  readonly #torrentDir: string;
  readonly #partialDir: string;
  /** None where it is only looked at. */
  #claim: RootClaim | undefined;

  private constructor(rootDirectory: string) {
    this.#dataDir = join(rootDirectory, "data");
    this.#torrentDir = join(rootDirectory, "torrents");
    this.#partialDir = join(rootDirectory, "partial");
  }

  /**
   * Opens a root directory, making what is missing, and sweeps drafts that a killed process left. With `onTrouble` a disk
   * that is full, read-only or failing does not hinder that: what is stored can be read, and the rest is made up for.
   *
   * @throws StorageError "locked" when another process works on it, "io" or "no_space" when it cannot be used
   */
  static async open({ rootDirectory, onTrouble }: StorageOptions): Promise<FsStorage> {
    const root = resolve(rootDirectory);
    const storage = new FsStorage(root);
    const directories = [storage.#dataDir, storage.#torrentDir, storage.#partialDir];
    storage.#claim = await RootClaim.claim({ root, directories, onTrouble });
    try {
      await storage.#sweep();
    } catch (error) {
      // What is left takes a little room, no more.
      if (!onTrouble) {
        await storage.close();
        throw error;
      }
    }
    return storage;
  }

  /**
   * A root directory as it lies on the disk: nothing is locked, made or swept. For looking at it, also while another
   * process works on it; what is listed may be gone the next moment.
   *
   * @throws StorageError "io" when there is none
   */
  static async look({ rootDirectory }: StorageOptions): Promise<FsStorage> {
    const root = resolve(rootDirectory);
    const storage = new FsStorage(root);
    const about = `${root} is no root directory of Eagle's blobs`;
    const info = await translated(about, stat(storage.#dataDir));
    if (!info.isDirectory()) throw new StorageError("io", about);
    return storage;
  }

  async createWithMetaInfo(id: string, metainfo: Uint8Array): Promise<void> {
    const target = this.getTorrentFilePath(id);
    const draft = this.#draftPath(id);
    try {
      await this.#write(draft, [metainfo], undefined);
      await rename(draft, target);
      await syncDirectoryOf(target);
    } catch (cause) {
      // Swept at the next start where the disk refuses this too.
      await rm(draft, { force: true }).catch(() => {});
      throw failure(`cannot store the metainfo of blob ${id}`, cause);
    }
  }

  async readMetaInfo(id: string): Promise<Uint8Array> {
    const path = this.getTorrentFilePath(id);
    return await found(id, `cannot read the metainfo of blob ${id}`, readFile(path));
  }

  async stat(id: string): Promise<BlobStat> {
    return statOf(await found(id, `cannot look at blob ${id}`, stat(this.getFilePath(id))));
  }

  async upload(id: string, source: BlobSource, { signal }: AbortOptions = {}): Promise<void> {
    const target = this.getFilePath(id);
    signal?.throwIfAborted();
    // A Node file stream has a `path` too: it is a stream first.
    if (Symbol.asyncIterator in source) await this.#uploadStream(id, source, target, signal);
    else await this.#uploadFile(id, source.path, target, signal);
  }

  async download(id: string, range: ByteRange = {}): Promise<ReadableStream<Uint8Array>> {
    const handle = await found(id, `cannot open blob ${id}`, open(this.getFilePath(id), "r"));
    try {
      const { size } = await translated(`cannot look at blob ${id}`, handle.stat());
      const { start = 0, end = size } = range;
      if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || start > end || end > size) {
        throw new StorageError("invalid_range", `bytes [${start}, ${end}) are not within the ${size} of blob ${id}`);
      }
      return fileStream(handle, { start, end, onClose: () => handle.close() });
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async delete(id: string): Promise<void> {
    // The blob goes first: a torrent without its blob does no harm, a blob that cannot be offered would.
    const hadBlob = await removed(this.getFilePath(id), `cannot delete blob ${id}`);
    const hadMetaInfo = await removed(this.getTorrentFilePath(id), `cannot delete the metainfo of blob ${id}`);
    if (!hadBlob && !hadMetaInfo) throw new BlobNotFoundError(id);
  }

  list(prefix = ""): AsyncIterable<BlobEntry> {
    return entries(this.#dataDir, blobSuffix, checkPrefix(prefix));
  }

  listPartial(): AsyncIterable<BlobEntry> {
    return entries(this.#partialDir, "", "");
  }

  async deletePartial(id: string): Promise<void> {
    const about = `cannot delete the partial file of blob ${id}`;
    // The journal goes last: alone it is swept at the next start.
    await removed(this.getPartialPath(id), about);
    await removed(this.getPartialJournalPath(id), about);
  }

  async touch(id: string, usedMs: number): Promise<void> {
    const path = this.getFilePath(id);
    try {
      const { mtimeMs } = await stat(path);
      // In seconds: dates would cut the time of writing to whole milliseconds.
      await utimes(path, usedMs / 1000, mtimeMs / 1000);
    } catch (cause) {
      if (codeOf(cause) !== "ENOENT") throw failure(`cannot note the use of blob ${id}`, cause);
    }
  }

  async *listMetaInfo(): AsyncGenerator<string> {
    for await (const name of fileNames(this.#torrentDir)) {
      const id = name.slice(0, -torrentSuffix.length);
      if (name.endsWith(torrentSuffix) && isBlobId(id)) yield id;
    }
  }

  getFilePath(id: string): string {
    return join(this.#dataDir, checkBlobId(id) + blobSuffix);
  }

  getTorrentFilePath(id: string): string {
    return join(this.#torrentDir, checkBlobId(id) + torrentSuffix);
  }

  getPartialPath(id: string): string {
    return join(this.#partialDir, checkBlobId(id));
  }

  getPartialJournalPath(id: string): string {
    return this.getPartialPath(id) + journalSuffix;
  }

  getDataDir(): string {
    return this.#dataDir;
  }

  getTorrentDir(): string {
    return this.#torrentDir;
  }

  async freeSpace(): Promise<DiskSpace> {
    const measured = statfs(this.#dataDir).catch((cause) => {
      // Not made yet: see `open`.
      if (codeOf(cause) !== "ENOENT") throw cause;
      return statfs(dirname(this.#dataDir));
    });
    const { bavail, blocks, bsize } = await translated("cannot measure the disk", measured);
    return { free: bavail * bsize, total: blocks * bsize };
  }

  async close(): Promise<void> {
    await this.#claim?.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #uploadStream(
    id: string,
    source: AsyncIterable<Uint8Array>,
    target: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    // Not `partial/<id>`: uploads of one id may run at the same time, and a fetch may be writing there.
    const draft = this.#draftPath(id);
    try {
      await this.#write(draft, source, signal);
      await this.#publishBlob(draft, target);
    } catch (error) {
      await rm(draft, { force: true }).catch(() => {});
      throw error;
    }
  }

  async #uploadFile(id: string, path: string, target: string, signal: AbortSignal | undefined): Promise<void> {
    const about = `cannot take over ${path} as blob ${id}`;
    const info = await translated(about, lstat(path));
    if (!info.isFile()) throw new StorageError("io", `${about}: it is not a regular file`);
    const handle = await translated(about, open(path, "r"));
    try {
      await translated(about, handle.sync());
      signal?.throwIfAborted();
      try {
        await this.#publishBlob(path, target);
      } catch (error) {
        if (codeOf(error instanceof StorageError ? error.cause : error) !== "EXDEV") throw error;
        // From another file system: the bytes have to be copied.
        const bytes = fileStream(handle, { start: 0, end: info.size });
        await this.#uploadStream(id, bytes, target, signal);
        await translated(about, unlink(path));
      }
    } finally {
      await handle.close();
    }
  }

  async #sweep(): Promise<void> {
    for await (const name of fileNames(this.#partialDir)) {
      if (await this.#isScrap(name)) await rm(join(this.#partialDir, name), { force: true });
    }
  }

  /** Whether a file in `partial/` is of no use to anybody any more. */
  async #isScrap(name: string): Promise<boolean> {
    if (name.endsWith(draftSuffix)) return true;
    if (!name.endsWith(journalSuffix)) return false;
    const partial = join(this.#partialDir, name.slice(0, -journalSuffix.length));
    return await lstat(partial).then(
      () => false,
      (cause) => codeOf(cause) === "ENOENT",
    );
  }

  #draftPath(id: string): string {
    return join(this.#partialDir, `${checkBlobId(id)}.${randomUUID()}${draftSuffix}`);
  }

  /** Writes a new file and makes its content durable. Errors of the source pass through unchanged. */
  async #write(
    path: string,
    source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const about = `cannot write ${path}`;
    const handle = await translated(about, open(path, "wx"));
    try {
      const chunks = Symbol.asyncIterator in source ? abortable(source, signal) : source;
      for await (const chunk of chunks) await translated(about, writeAll(handle, chunk));
      await translated(about, handle.sync());
      signal?.throwIfAborted();
    } finally {
      await handle.close();
    }
  }

  /** Publishes a blob; one whose name cannot be made durable is taken back, or nobody would account for it. */
  async #publishBlob(from: string, to: string): Promise<void> {
    await translated(`cannot publish ${to}`, rename(from, to));
    try {
      await syncDirectoryOf(to);
    } catch (error) {
      await rename(to, from).catch(() => rm(to, { force: true }).catch(() => {}));
      throw error;
    }
  }
}

/** Makes the names in a file's directory durable. */
async function syncDirectoryOf(path: string): Promise<void> {
  const directory = await translated(`cannot open the directory of ${path}`, open(dirname(path), "r"));
  try {
    await translated(`cannot sync the directory of ${path}`, directory.sync());
  } finally {
    await directory.close();
  }
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let offset = 0; offset < chunk.byteLength; ) {
    const { bytesWritten } = await handle.write(chunk, offset, chunk.byteLength - offset);
    offset += bytesWritten;
  }
}

async function* entries(directory: string, suffix: string, prefix: string): AsyncGenerator<BlobEntry> {
  for await (const name of fileNames(directory)) {
    if (!name.endsWith(suffix) || !name.startsWith(prefix)) continue;
    const id = name.slice(0, name.length - suffix.length);
    if (!isBlobId(id)) continue;
    try {
      const info = await lstat(join(directory, name));
      if (info.isFile()) yield { id, ...statOf(info) };
    } catch (cause) {
      // Deleted since its name was read.
      if (codeOf(cause) !== "ENOENT") throw failure(`cannot look at blob ${id}`, cause);
    }
  }
}

async function* fileNames(directory: string): AsyncGenerator<string> {
  let open: Dir;
  try {
    open = await opendir(directory);
  } catch (cause) {
    // Not made yet, on a disk that refused it at the start.
    if (codeOf(cause) === "ENOENT") return;
    throw failure(`cannot list ${directory}`, cause);
  }
  for await (const entry of open) yield entry.name;
}

function statOf(info: Stats): BlobStat {
  const { size, mtimeMs, atimeMs, blocks } = info;
  // Some runtimes and systems do not count blocks.
  const diskBytes = typeof blocks === "number" ? { diskBytes: blocks * 512 } : {};
  return { size, modifiedMs: mtimeMs, lastUsedMs: atimeMs, ...diskBytes };
}

async function removed(path: string, about: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return false;
    throw failure(about, cause);
  }
}

/** Awaits an operation on a blob's own file, for which "no such file" means that the blob is not stored. */
async function found<T>(id: string, about: string, operation: Promise<T>): Promise<T> {
  try {
    return await operation;
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") throw new BlobNotFoundError(id, { cause });
    throw failure(about, cause);
  }
}

async function translated<T>(about: string, operation: Promise<T>): Promise<T> {
  try {
    return await operation;
  } catch (cause) {
    throw failure(about, cause);
  }
}

function failure(about: string, cause: unknown): StorageError {
  if (cause instanceof StorageError) return cause;
  const code = codeOf(cause);
  const known = withReason(about, cause);
  const message = known === about ? `${about} (${typeof code === "string" ? code : "unknown error"})` : known;
  return new StorageError(code === "ENOSPC" || code === "EDQUOT" ? "no_space" : "io", message, { cause });
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
