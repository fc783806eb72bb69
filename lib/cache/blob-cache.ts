/**
 * @module
 * Decides which blobs stay on this host: one fetch for all callers, eviction by use and bytes, never of what is held.
 */

import { BlobNotFoundError } from "../storage/storage.ts";
import { abortable } from "./abortable.ts";
import {
  type BlobCacheInit,
  type Cacheable,
  CacheError,
  type Handle,
  type HandleSource,
  type LeaveReason,
  type SetTimer,
  type Timer,
} from "./cacheable.ts";
import { Committed } from "./committed.ts";
import { Entry } from "./entry.ts";
import { Flights } from "./flights.ts";
import { Leaving } from "./leaving.ts";
import { OpenBlobs } from "./open-blobs.ts";
import { Refusals } from "./refusals.ts";
import { backgroundTimer } from "./timer.ts";
import { Uses } from "./uses.ts";
import { Watermark } from "./watermark.ts";

/** A caller meets a blob that leaves again and again only under thrashing: then the origin is the better source. */
const maxAttempts = 8;

/** A blob found on the disk at start. */
export interface LoadEntry {
  readonly id: string;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly modifiedMs: number;
  /** Milliseconds since the epoch; counts when later than `modifiedMs`. */
  readonly lastUsedMs?: number;
}

/** Options of waits in the cache. */
export interface CallerOptions {
  /** Ends this caller's wait, with the signal's reason. Nobody else's, and not the fetch. */
  readonly signal?: AbortSignal;
}

/** The blobs of one host. Ids are opaque here. */
export class BlobCache<B extends Cacheable> implements AsyncDisposable {
  readonly #init: BlobCacheInit<B>;
  readonly #setTimer: SetTimer;
  readonly #settleTimeoutMs: number;
  readonly #committed = new Committed<B>();
  readonly #flights: Flights<B>;
  readonly #open: OpenBlobs<B>;
  readonly #removals = new Leaving();
  readonly #refusals: Refusals;
  readonly #watermark: Watermark;
  readonly #uses: Uses<B>;
  readonly #now: () => number;
  /** Bytes of committed blobs that are held. */
  #pinnedBytes = 0;
  #watch: Timer | undefined;
  #closed = false;

  constructor(init: BlobCacheInit<B>) {
    const { abandonAfterMs = 60_000, checkIntervalMs = 5_000, keepOpen = 64, log, setTimer = backgroundTimer } = init;
    this.#init = init;
    this.#setTimer = setTimer;
    this.#settleTimeoutMs = init.settleTimeoutMs ?? 5_000;
    this.#now = init.now ?? (() => performance.now());
    this.#refusals = new Refusals({ now: this.#now });
    this.#uses = new Uses({
      touch: init.touch && ((id, ago) => init.touch?.(id, ago) ?? Promise.resolve()),
      intervalMs: init.touchIntervalMs ?? 60_000,
      setTimer,
      now: this.#now,
      log,
    });
    this.#open = new OpenBlobs({ open: (id, size) => init.open(id, size), keepOpen, log });
    this.#flights = new Flights({
      abandonAfterMs,
      setTimer,
      log,
      arrived: () => this.#makeRoom(),
      landed: (entry, size) => this.#commit(entry, size),
      failed: (entry) => this.#open.rest(entry),
    });
    this.#watermark = new Watermark({
      freeSpace: () => init.freeSpace(),
      minFree: (total) => init.minFree(total),
      log,
      expected: () => this.#arriving((blob) => (blob.size ?? 0) - (blob.received ?? 0)),
      evict: (bytes) => this.#evict(bytes, "disk"),
      removed: async () => {
        await Promise.all([this.#removals.all(), init.scraps?.removed()]);
      },
    });
    this.#watchDisk(checkIntervalMs);
  }

  /** Bytes of committed blobs. Exceeds the limit only while blobs are held that do not fit together. */
  get bytes(): number {
    return this.#committed.bytes;
  }

  /** Bytes of the blobs that are arriving, as far as their sizes are known. */
  get reserved(): number {
    return this.#arriving((blob) => blob.size ?? 0);
  }

  /** Bytes of files whose blobs have left, but which the disk would not remove; that is tried again. */
  get remains(): number {
    return this.#refusals.bytes;
  }

  /** Number of committed blobs. */
  get count(): number {
    return this.#committed.count;
  }

  /** Ids of the committed blobs, most recently used first. */
  ids(): Iterable<string> {
    return this.#committed.ids();
  }

  /** What the cache has of a blob: "active" is a fetch under way. Does not count as a use. */
  has(id: string): "committed" | "active" | undefined {
    if (this.#committed.has(id)) return "committed";
    return this.#flights.get(id) ? "active" : undefined;
  }

  /** Whether a blob of `size` bytes could ever be kept. One that could not should bypass the cache. */
  fits(size: number): boolean {
    return size >= 0 && size <= this.#init.limitSize;
  }

  /**
   * Whether a blob of `size` bytes can be taken in now: it fits, and the disk, as it was measured last, has room for it
   * beside what is held and what arrives.
   *
   * @param options.present bytes of it that are on the disk already
   */
  admits(size: number, { present = 0 }: { present?: number } = {}): boolean {
    if (!this.fits(size)) return false;
    const { room } = this.#watermark;
    if (room === undefined) return true;
    return size - present <= room + this.bytes - this.#pinnedBytes + (this.#init.scraps?.bytes ?? 0);
  }

  /** When a committed blob was used last, ms ago; undefined when there is none. Does not count as a use. */
  unusedMs(id: string): number | undefined {
    const entry = this.#committed.get(id);
    return entry && Math.max(0, this.#now() - entry.usedAt);
  }

  /**
   * Takes over the blobs that an earlier process committed; call it before serving. The oldest are evicted first, so
   * the order of use survives a restart as well as the disk remembers it. Blobs that can not be kept are removed.
   *
   * @throws whatever the listing throws; nothing was taken over then
   */
  async load(entries: AsyncIterable<LoadEntry>): Promise<void> {
    const found: LoadEntry[] = [];
    for await (const entry of entries) found.push(entry);
    found.sort((a, b) => lastUse(a) - lastUse(b));
    const [now, wallNow] = [this.#now(), (this.#init.wallNow ?? Date.now)()];
    for (const each of found) {
      const { id, size } = each;
      if (this.#closed) return;
      if (this.has(id) || this.#removals.of(id)) continue;
      const entry = new Entry<B>(id, "committed");
      entry.size = size;
      // A clock that was set back in between makes it used just now.
      entry.usedAt = now - Math.max(0, wallNow - lastUse(each));
      if (this.#keeps(size)) this.#committed.add(entry);
      else this.#removeFile(entry, "removed").catch(() => {});
    }
    this.#enforceLimit();
    await this.check();
  }

  /**
   * Pins a blob: the committed one, the one that is arriving, or the one that `fetch` begins. Of any number of
   * concurrent callers one `fetch` is called; when it rejects all of them get its error, and the next call tries anew.
   *
   * @param fetch begins a fetch and resolves as soon as there is a blob to read from. Its signal aborts when nobody
   *   waits any more; once it resolved, `abandon()` is called instead.
   * @throws the error of `fetch` or `open`; the reason of `options.signal`; CacheError "closed" or "busy"
   */
  async acquire(
    id: string,
    fetch: (signal: AbortSignal) => Promise<B>,
    options: CallerOptions = {},
  ): Promise<Handle<B>> {
    const { signal } = options;
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      if (this.#closed) throw closed();
      signal?.throwIfAborted();
      const handle = await this.#pinCommitted(id, signal);
      if (handle) return handle;
      const active = this.#flights.get(id);
      if (active && !active.flight?.abandoned)
        return await this.#pin(active, { source: "joined", caller: true, signal });
      const ending = active?.flight?.settled ?? this.#removals.of(id) ?? this.#open.closings.of(id);
      if (ending) await this.#settle(ending, `the last use of blob ${id}`, signal);
      else if (!this.has(id) && !this.#closed) {
        return await this.#pin(this.#flights.start(id, fetch), { source: "fetched", caller: true, signal });
      }
    }
    throw new CacheError("busy", `blob ${id} came and went ${maxAttempts} times`);
  }

  /**
   * Pins a blob that is committed or arriving; never begins a fetch and never keeps one going: it is for readers that
   * can do without, such as peers.
   *
   * @returns undefined when there is none, or the fetch under way failed before it gave one
   * @throws the reason of `options.signal`; the error of `open` unless the blob is missing
   */
  async peek(id: string, { signal }: CallerOptions = {}): Promise<Handle<B> | undefined> {
    signal?.throwIfAborted();
    if (this.#closed) return undefined;
    const handle = await this.#pinCommitted(id, signal);
    if (handle) return handle;
    const active = this.#flights.get(id);
    if (!active || active.flight?.abandoned) return undefined;
    try {
      return await this.#pin(active, { source: "joined", caller: false, signal });
    } catch (error) {
      if (signal?.aborted) throw error;
      return undefined;
    }
  }

  /**
   * Removes a committed blob from the disk, held or not: handles given out go on working. A blob that is arriving is
   * left alone.
   *
   * @returns whether there was one
   * @throws the error of the removal; the blob is gone from the cache all the same, and its file is tried again
   */
  async remove(id: string): Promise<boolean> {
    const entry = this.#committed.get(id);
    if (!entry) return false;
    await this.#drop(entry, "removed");
    return true;
  }

  /** Measures the disk and evicts what is needed; resolves when that is done. Runs by itself now and then. */
  async check(): Promise<void> {
    const remains = this.#removeRemains();
    // No blob has to go for what goes by itself.
    if (remains) await remains;
    this.#dropUnused();
    this.#enforceLimit();
    await this.#watermark.check();
  }

  /**
   * Stops: abandons the fetches and waits for their end (at most `settleTimeoutMs`), closes what nobody holds. Blobs
   * still held are closed when released. Committed files stay.
   */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#watch?.cancel();
      this.#flights.abandonAll(closed());
      this.#open.close();
    }
    const noted = this.#uses.close();
    const ended = this.#flights
      .ended()
      .then(() => Promise.all([noted, this.#open.closings.all(), this.#removals.all()]));
    try {
      await this.#settle(ended, "work of the blob cache", undefined);
    } catch (error) {
      this.#init.log?.warn("the blob cache closes although some of its work has not ended", { error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #pinCommitted(id: string, signal: AbortSignal | undefined): Promise<Handle<B> | undefined> {
    const entry = this.#use(id);
    if (!entry) return undefined;
    try {
      return await this.#pin(entry, { source: "cache", caller: false, signal });
    } catch (error) {
      if (!(error instanceof BlobNotFoundError)) throw error;
      if (entry.state === "committed") {
        this.#init.log?.warn("a cached blob is missing from the disk", { blob: id });
        this.#drop(entry, "missing").catch(() => {});
      }
      return undefined;
    }
  }

  async #pin(
    entry: Entry<B>,
    { source, caller, signal }: { source: HandleSource; caller: boolean; signal: AbortSignal | undefined },
  ): Promise<Handle<B>> {
    // Who waits pins already: the blob must not be closed or evicted between its opening and this caller's turn.
    entry.pins++;
    if (entry.pins === 1 && entry.state === "committed") this.#pinnedBytes += entry.size;
    if (caller) {
      entry.callers++;
      this.#flights.wanted(entry);
    }
    let released = false;
    const release = () => {
      if (released) return;
      released = true;
      this.#unpin(entry, caller);
    };
    try {
      const opened = this.#open.get(entry);
      const blob = opened instanceof Promise ? await abortable(opened, signal) : opened;
      return { blob, source, release, [Symbol.dispose]: release };
    } catch (error) {
      release();
      throw error;
    }
  }

  #unpin(entry: Entry<B>, caller: boolean): void {
    entry.pins--;
    if (caller) {
      entry.callers--;
      if (entry.callers === 0) this.#flights.unwanted(entry);
    }
    if (entry.pins > 0) return;
    if (entry.state === "committed") {
      this.#pinnedBytes -= entry.size;
      // It was in use until now.
      this.#use(entry.id);
    }
    this.#open.rest(entry);
    this.#enforceLimit();
  }

  #commit(entry: Entry<B>, size: number): void {
    entry.size = size;
    this.#refusals.forget(entry.id);
    if (this.#keeps(size)) {
      entry.state = "committed";
      entry.usedAt = this.#now();
      if (entry.pins > 0) this.#pinnedBytes += size;
      this.#committed.add(entry);
      this.#notify(() => this.#init.onCommit?.(entry.id, size));
    } else {
      entry.state = "gone";
      this.#removeFile(entry, "removed").catch(() => {});
    }
    this.#open.rest(entry);
    this.#makeRoom();
  }

  /** A committed entry, which was used just now. */
  #use(id: string): Entry<B> | undefined {
    const entry = this.#committed.use(id, this.#now());
    if (entry) this.#uses.add(entry);
    return entry;
  }

  /** Takes a committed blob out of the cache and off the disk. */
  #drop(entry: Entry<B>, reason: LeaveReason): Promise<void> {
    this.#committed.delete(entry.id);
    this.#uses.delete(entry);
    if (entry.pins > 0) this.#pinnedBytes -= entry.size;
    entry.state = "gone";
    this.#notify(() => this.#init.onEvict?.(entry.id, { reason, blob: entry.blob }));
    this.#open.rest(entry);
    return this.#removeFile(entry, reason);
  }

  async #removeFile({ id, size }: Pick<Entry<B>, "id" | "size">, reason: LeaveReason): Promise<void> {
    const removal = (async () => {
      try {
        await this.#init.remove(id);
      } catch (error) {
        if (!(error instanceof BlobNotFoundError)) {
          this.#onRefused({ id, size }, { reason, error });
          throw error;
        }
      }
      this.#refusals.forget(id);
      this.#refusals.worked();
    })();
    this.#removals.add(id, removal);
    await removal;
    this.#init.log?.debug("a blob left the cache", { blob: id, size });
  }

  /** The file takes its room as before: a blob that was only to make room stays, of any other the bytes are counted. */
  #onRefused({ id, size }: Pick<Entry<B>, "id" | "size">, init: { reason: LeaveReason; error: unknown }): void {
    const { reason, error } = init;
    const isNews = this.#refusals.refused();
    const say = isNews ? "warn" : "debug";
    this.#init.log?.[say]("the disk refuses to remove a blob; that is tried again", { blob: id, error });
    const stays = (reason === "limit" || reason === "disk") && !this.has(id) && !this.#closed;
    if (!stays) {
      if (!this.has(id)) this.#refusals.keep(id, size);
      return;
    }
    const entry = new Entry<B>(id, "committed");
    entry.size = size;
    // As if it was used just now: the next to make room is another, should this one alone be refused.
    entry.usedAt = this.#now();
    this.#committed.add(entry);
    this.#notify(() => this.#init.onStay?.(id));
  }

  #removeRemains(): Promise<unknown> | undefined {
    const due = this.#closed ? [] : this.#refusals.due();
    const free = due.filter((id) => !this.has(id) && !this.#removals.of(id));
    if (free.length === 0) return undefined;
    return Promise.allSettled(free.map((id) => this.#removeFile({ id, size: this.#refusals.sizeOf(id) }, "removed")));
  }

  /** lru-cache refuses size 0, and an empty blob needs no cache. */
  #keeps(size: number): boolean {
    return Number.isSafeInteger(size) && size > 0 && this.fits(size);
  }

  #evict(bytes: number, reason: LeaveReason): number {
    // A closed cache leaves the disk to its successor.
    if (this.#closed || this.#refusals.pausing) return 0;
    let freed = this.#init.scraps?.evict(bytes) ?? 0;
    for (const entry of this.#committed.victims()) {
      if (freed >= bytes) break;
      freed += entry.size;
      this.#drop(entry, reason).catch(() => {});
    }
    return freed;
  }

  #enforceLimit(): void {
    const others = this.reserved + this.remains + (this.#init.scraps?.bytes ?? 0);
    const excess = this.bytes + others - this.#init.limitSize;
    if (excess > 0) this.#evict(excess, "limit");
  }

  /** Whoever is least recently used comes first, so the first young one ends the search. */
  #dropUnused(): void {
    const { ttlMs } = this.#init;
    if (ttlMs === undefined || this.#closed || this.#refusals.pausing) return;
    const oldest = this.#now() - ttlMs;
    for (const entry of this.#committed.victims()) {
      if (entry.usedAt >= oldest) break;
      this.#drop(entry, "unused").catch(() => {});
    }
  }

  #makeRoom(): void {
    if (!this.#closed) void this.check();
  }

  /** Sums over arriving blobs; those that can never be kept reserve nothing, or all others would go in vain. */
  #arriving(bytes: (blob: B) => number): number {
    return this.#flights.sum((size) => this.fits(size), bytes);
  }

  /** Waits for `wait`, within bounds. */
  async #settle(wait: Promise<unknown>, what: string, signal: AbortSignal | undefined): Promise<void> {
    const late = Promise.withResolvers<never>();
    const ms = this.#settleTimeoutMs;
    const timer = this.#setTimer(() => late.reject(new CacheError("busy", `${what} did not end within ${ms} ms`)), ms);
    try {
      await abortable(Promise.race([wait, late.promise]), signal);
    } finally {
      timer.cancel();
    }
  }

  #watchDisk(intervalMs: number): void {
    if (intervalMs <= 0 || this.#closed) return;
    this.#watch = this.#setTimer(() => {
      this.check().then(() => this.#watchDisk(intervalMs));
    }, intervalMs);
  }

  /** Runs somebody else's callback: its failure must not upset the books. */
  #notify(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.#init.log?.warn("a callback of the blob cache failed", { error });
    }
  }
}

function lastUse({ modifiedMs, lastUsedMs = 0 }: LoadEntry): number {
  return Math.max(modifiedMs, lastUsedMs);
}

function closed(): CacheError {
  return new CacheError("closed", "the blob cache is closed");
}
