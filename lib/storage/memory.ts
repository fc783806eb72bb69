/**
 * @module
 * Objects in this process's memory: for tests and for places without a disk to speak of. They end with the process.
 */

import { abortable } from "./abortable.ts";
import type { ObjectEntry, ObjectInfo, ObjectRead, ObjectStore } from "./object-store.ts";
import { RemoteStorage, type RemoteStorageOptions } from "./remote/remote-storage.ts";

/** Opens a storage whose blobs are in memory; files on their way in, and copies in demand, are in the root directory. */
export function openMemoryStorage(options: RemoteStorageOptions): Promise<RemoteStorage> {
  return RemoteStorage.open(new MemoryStore(), options);
}

interface StoredObject extends ObjectInfo {
  readonly bytes: Uint8Array;
}

/** See the module. */
export class MemoryStore implements ObjectStore {
  readonly name = "memory";
  readonly shared: boolean = false;
  readonly #objects = new Map<string, StoredObject>();

  async head(key: string): Promise<ObjectInfo | undefined> {
    return this.#objects.get(key);
  }

  async get(key: string, range?: { start: number; end: number }): Promise<ObjectRead | undefined> {
    const stored = this.#objects.get(key);
    if (!stored) return undefined;
    const { start, end } = range ?? { start: 0, end: stored.size };
    return { body: slices(stored.bytes.subarray(start, end)), close() {} };
  }

  async put(
    key: string,
    source: Uint8Array | AsyncIterable<Uint8Array>,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<void> {
    if (source instanceof Uint8Array) return this.#set(key, source);
    const parts: Uint8Array[] = [];
    for await (const part of abortable(source, signal)) parts.push(part.slice());
    this.#set(key, Buffer.concat(parts));
  }

  async create(key: string, bytes: Uint8Array): Promise<boolean> {
    if (this.#objects.has(key)) return false;
    this.#set(key, bytes);
    return true;
  }

  async delete(key: string): Promise<void> {
    this.#objects.delete(key);
  }

  async *list(prefix: string): AsyncGenerator<ObjectEntry> {
    for (const [key, { size, modifiedMs }] of this.#objects)
      if (key.startsWith(prefix)) yield { key, size, modifiedMs };
  }

  async link(): Promise<undefined> {}

  async close(): Promise<void> {
    this.#objects.clear();
  }

  #set(key: string, bytes: Uint8Array): void {
    this.#objects.set(key, { bytes: bytes.slice(), size: bytes.length, modifiedMs: Date.now() });
  }
}

async function* slices(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 1 << 20) yield bytes.slice(at, at + (1 << 20));
}
