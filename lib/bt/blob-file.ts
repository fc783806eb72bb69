/**
 * The file behind a blob: random access while it fills, reads once it is whole.
 * @module
 */
import { readSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

/** Random access to a blob's bytes; positions and lengths in bytes. */
export interface BlobFile {
  /** Fills `target` from `position`. @throws when the file ends before. */
  read(target: Uint8Array, position: number): Promise<void>;
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** Makes what was written durable. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a file of the file system.
 * @param flags "r" for a whole blob, "w+" for a new one, "r+" to go on with one.
 */
export async function openBlobFile(path: string, flags: "r" | "w+" | "r+"): Promise<BlobFile> {
  return new DiskFile(await open(path, flags), path);
}

/** A blob that others wrote, for reading alone. Closing it closes the reader. */
export function readOnlyFile(reader: Pick<BlobFile, "read" | "close">): BlobFile {
  const refuse = () => Promise.reject(new Error("a stored blob does not change"));
  return {
    read: (target, position) => reader.read(target, position),
    write: refuse,
    sync: refuse,
    close: () => reader.close(),
  };
}

/** What was written less than so many ms ago is still in the system's page cache... */
const FRESH_MS = 30_000;
/** ...and so is each block of so many bytes of it: no piece is smaller. */
const BLOCK = 512 * 1024;

class DiskFile implements BlobFile {
  readonly #handle: FileHandle;
  readonly #path: string;
  /** Monotonic ms of the latest write to each block. */
  readonly #writtenAt: number[] = [];
  #closed = false;

  constructor(handle: FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
  }

  /**
   * A piece is read some times in the seconds after it came: for its digest, for the engine, for other hosts. A copy
   * from the page cache is sooner done than given to another thread.
   */
  async read(target: Uint8Array, position: number): Promise<void> {
    const fresh = this.#isFresh(position, position + target.length);
    let filled = 0;
    while (filled < target.length) {
      const rest = target.length - filled;
      const bytesRead = fresh
        ? readSync(this.#handle.fd, target, filled, rest, position + filled)
        : (await this.#handle.read(target, filled, rest, position + filled)).bytesRead;
      if (bytesRead === 0) throw new Error(`${this.#path} ends at ${position + filled}, before the blob does`);
      filled += bytesRead;
    }
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    let written = 0;
    while (written < bytes.length) {
      const result = await this.#handle.write(bytes, written, bytes.length - written, position + written);
      written += result.bytesWritten;
    }
    const now = performance.now();
    for (let block = Math.floor(position / BLOCK); block * BLOCK < position + bytes.length; block++) {
      this.#writtenAt[block] = now;
    }
  }

  async sync(): Promise<void> {
    await this.#handle.datasync();
  }

  #isFresh(start: number, end: number): boolean {
    const since = performance.now() - FRESH_MS;
    for (let block = Math.floor(start / BLOCK); block * BLOCK < end; block++) {
      if ((this.#writtenAt[block] ?? Number.NEGATIVE_INFINITY) < since) return false;
    }
    return !this.#closed;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#handle.close();
  }
}
