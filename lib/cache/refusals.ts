/**
 * @module
 * Removals that the disk refused: what still takes its room, and when to try again.
 */

/** While the disk refuses, nothing more is tried for so long, ms. */
const pauseMs = 5_000;

/** See the module. */
export class Refusals {
  readonly #now: () => number;
  /** Bytes of files that belong to no blob of the cache any more, by id. */
  readonly #remains = new Map<string, number>();
  #bytes = 0;
  /** Monotonic ms of the last refusal, while no removal has succeeded since. */
  #refusedAt: number | undefined;

  constructor({ now }: { now: () => number }) {
    this.#now = now;
  }

  /** Bytes of remains. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether the disk has just refused: whatever else is tried would be refused as well. */
  get pausing(): boolean {
    return this.#refusedAt !== undefined && this.#now() - this.#refusedAt < pauseMs;
  }

  /** A removal was refused. @returns whether that is news */
  refused(): boolean {
    const isNews = this.#refusedAt === undefined;
    this.#refusedAt = this.#now();
    return isNews;
  }

  /** A removal succeeded. */
  worked(): void {
    this.#refusedAt = undefined;
  }

  sizeOf(id: string): number {
    return this.#remains.get(id) ?? 0;
  }

  /** A file stays although its blob has left. */
  keep(id: string, size: number): void {
    this.forget(id);
    this.#remains.set(id, size);
    this.#bytes += size;
  }

  /** The file is gone, or is a blob's again. */
  forget(id: string): void {
    this.#bytes -= this.#remains.get(id) ?? 0;
    this.#remains.delete(id);
  }

  /** Remains to be removed now: none while it pauses. */
  due(): string[] {
    return this.pausing ? [] : [...this.#remains.keys()];
  }
}
