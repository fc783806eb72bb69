/**
 * @module
 * The fetches under way: at most one a blob, given up some time after the last caller left.
 */

import { type BlobCacheInit, type Cacheable, CacheError, type SetTimer } from "./cacheable.ts";
import { Entry, Flight } from "./entry.ts";

/** What the fetches need, and whom they tell. */
export interface FlightsInit<B extends Cacheable> {
  readonly abandonAfterMs: number;
  readonly setTimer: SetTimer;
  readonly log: BlobCacheInit<B>["log"];
  /** A fetch gave a blob, whose bytes now need room. */
  arrived(): void;
  /** A blob is on the disk; its flight has ended and its entry still says "arriving". */
  landed(entry: Entry<B>, size: number): void;
  /** A fetch failed; its entry says "gone". */
  failed(entry: Entry<B>): void;
}

/** The fetches under way. An entry is here until its fetch has ended, abandoned or not, so no second one can begin. */
export class Flights<B extends Cacheable> {
  readonly #init: FlightsInit<B>;
  readonly #entries = new Map<string, Entry<B>>();

  constructor(init: FlightsInit<B>) {
    this.#init = init;
  }

  get(id: string): Entry<B> | undefined {
    return this.#entries.get(id);
  }

  /** Begins a fetch; its entry's `opening` is the blob to come. */
  start(id: string, fetch: (signal: AbortSignal) => Promise<B>): Entry<B> {
    const entry = new Entry<B>(id, "starting");
    const flight = new Flight();
    entry.flight = flight;
    this.#entries.set(id, entry);
    const opening = (async () => {
      try {
        const blob = await fetch(flight.abort.signal);
        this.#arrive(entry, flight, blob);
        return blob;
      } catch (error) {
        this.#fail(entry, flight, error);
        throw error;
      }
    })();
    // Everybody may have left before it fails.
    opening.catch(() => {});
    entry.opening = opening;
    return entry;
  }

  /** A caller came: the fetch is wanted. */
  wanted(entry: Entry<B>): void {
    if (!entry.flight) return;
    entry.flight.grace?.cancel();
    entry.flight.grace = undefined;
  }

  /** The last caller left: the fetch goes on for the grace time only. */
  unwanted(entry: Entry<B>): void {
    const { flight } = entry;
    if (!flight || flight.abandoned) return;
    const reason = new CacheError("abandoned", `nobody waits for blob ${entry.id} any more`);
    flight.grace = this.#init.setTimer(() => this.#abandon(entry, reason), this.#init.abandonAfterMs);
  }

  /** Abandons all fetches. */
  abandonAll(reason: CacheError): void {
    for (const entry of this.#entries.values()) this.#abandon(entry, reason);
  }

  /** Resolves when the fetches that are under way now have ended. */
  async ended(): Promise<void> {
    await Promise.all([...this.#entries.values()].map((entry) => entry.flight?.settled));
  }

  /**
   * Sums over the arriving blobs that `counts` accepts by their size, 0 while it is unknown.
   *
   * @param bytes what one blob adds; less than 0 adds nothing
   */
  sum(counts: (size: number) => boolean, bytes: (blob: B) => number): number {
    let sum = 0;
    for (const { blob } of this.#entries.values()) {
      if (blob && counts(blob.size ?? 0)) sum += Math.max(0, bytes(blob));
    }
    return sum;
  }

  #arrive(entry: Entry<B>, flight: Flight, blob: B): void {
    entry.state = "arriving";
    entry.blob = blob;
    entry.opening = undefined;
    blob.done.then(
      (size) => {
        this.#end(entry);
        this.#init.landed(entry, size);
        flight.settle();
      },
      (error) => this.#fail(entry, flight, error),
    );
    // The fetch may have been too far to heed its signal.
    if (flight.abandoned) this.#tellAbandoned(blob, entry.id);
    this.#init.arrived();
  }

  #fail(entry: Entry<B>, flight: Flight, error: unknown): void {
    this.#end(entry);
    entry.state = "gone";
    this.#init.log?.debug("a blob did not arrive", { blob: entry.id, error });
    this.#init.failed(entry);
    flight.settle();
  }

  #end(entry: Entry<B>): void {
    this.#entries.delete(entry.id);
    this.wanted(entry);
    entry.flight = undefined;
  }

  #abandon(entry: Entry<B>, reason: CacheError): void {
    const { flight } = entry;
    if (!flight || flight.abandoned) return;
    flight.abandoned = true;
    this.wanted(entry);
    if (entry.blob) this.#tellAbandoned(entry.blob, entry.id);
    else flight.abort.abort(reason);
  }

  #tellAbandoned(blob: B, id: string): void {
    try {
      blob.abandon();
    } catch (error) {
      this.#init.log?.warn("a fetch could not be given up", { blob: id, error });
    }
  }
}
