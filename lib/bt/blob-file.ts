/**
 * The file behind a blob: random access while it fills, reads once it is whole.
 * @module
 */
import { Descriptor } from "./descriptor.ts";

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
  return new DiskFile(await Descriptor.open(path, flags));
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
  readonly #file: Descriptor;
  /** Monotonic ms of the latest write to each block. */
  readonly #writtenAt: number[] = [];

  constructor(file: Descriptor) {
    this.#file = file;
  }

  /**
   * A piece is read some times in the seconds after it came: for its digest, for the engine, for other hosts. A copy
   * from the page cache is sooner done than given to another thread.
   */
  async read(target: Uint8Array, position: number): Promise<void> {
    if (this.#isFresh(position, position + target.length)) this.#file.readNow(target, position);
    else await this.#file.read(target, position);
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    await this.#file.write(bytes, position);
    const now = performance.now();
    for (let block = Math.floor(position / BLOCK); block * BLOCK < position + bytes.length; block++) {
      this.#writtenAt[block] = now;
    }
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  #isFresh(start: number, end: number): boolean {
    const since = performance.now() - FRESH_MS;
    for (let block = Math.floor(start / BLOCK); block * BLOCK < end; block++) {
      if ((this.#writtenAt[block] ?? Number.NEGATIVE_INFINITY) < since) return false;
    }
    return true;
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
