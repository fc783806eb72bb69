/**
 * The file behind a blob: random access while it fills, reads once it is whole.
 * @module
 */
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

class DiskFile implements BlobFile {
  readonly #handle: FileHandle;
  readonly #path: string;
  #closed = false;

  constructor(handle: FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
  }

  async read(target: Uint8Array, position: number): Promise<void> {
    let filled = 0;
    while (filled < target.length) {
      const { bytesRead } = await this.#handle.read(target, filled, target.length - filled, position + filled);
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
  }

  async sync(): Promise<void> {
    await this.#handle.datasync();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#handle.close();
  }
}
