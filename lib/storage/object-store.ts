/**
 * @module
 * Objects under keys, as buckets keep them: all that a storage elsewhere has to bring. `RemoteStorage` makes a storage
 * of it. One that speaks another protocol is one file with these methods.
 */

/** What is known of an object without reading it. */
export interface ObjectInfo {
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the epoch, by the server's clock. */
  readonly modifiedMs: number;
}

/** One line of a listing. */
export interface ObjectEntry extends ObjectInfo {
  readonly key: string;
}

/** An object that is being read. */
export interface ObjectRead {
  /** To be iterated once, to its end or left: either ends the request. Throws StorageError "io". */
  readonly body: AsyncIterable<Uint8Array>;
  /** Ends the request; needed only when `body` is not iterated. */
  close(): void;
}

/** Keys are relative paths of letters, digits, `.`, `-`, `_` and `/`. All methods throw StorageError "io" or "no_space". */
export interface ObjectStore {
  /** For messages. */
  readonly name: string;
  /** Whether other processes may work on the same objects. */
  readonly shared: boolean;

  /** @returns undefined when there is none */
  head(key: string): Promise<ObjectInfo | undefined>;

  /**
   * Begins to read bytes `[start, end)`, which are inside the object and not none; without a range, all of it. What has
   * begun goes on when the object is deleted or replaced meanwhile.
   *
   * @returns undefined when there is none
   */
  get(key: string, range?: { start: number; end: number }): Promise<ObjectRead | undefined>;

  /**
   * Stores an object; it appears whole, in the place of an earlier one, or not at all. A source that fails, also at its
   * very end, or a signal that aborts, leaves nothing behind; the source's error and the signal's reason pass unchanged.
   *
   * @param options.size of the source in bytes, when it is known
   */
  put(
    key: string,
    source: Uint8Array | AsyncIterable<Uint8Array>,
    options?: { size?: number; signal?: AbortSignal },
  ): Promise<void>;

  /** Stores a small object unless there is one. @returns whether it did; undefined when the server knows no conditions */
  create(key: string, bytes: Uint8Array): Promise<boolean | undefined>;

  /** Removes an object; none is fine. */
  delete(key: string): Promise<void>;

  /** Objects whose keys begin with `prefix`, read page by page, in no particular order. */
  list(prefix: string): AsyncIterable<ObjectEntry>;

  /** A link for `seconds` by which anybody reads the object; undefined where there is no such thing. */
  link(key: string, seconds: number): Promise<URL | undefined>;

  close(): Promise<void>;
}
