/**
 * @module
 * Work that ends a blob's life (removing its file, closing it), so that its next life can wait for it.
 */

/** Pending work by blob id. */
export class Leaving {
  readonly #pending = new Map<string, Promise<void>>();

  /** Remembers work until it ends. Failures are for whoever began it. */
  add(id: string, work: Promise<unknown>): void {
    const both = Promise.allSettled([this.#pending.get(id), work]).then(() => {
      if (this.#pending.get(id) === both) this.#pending.delete(id);
    });
    this.#pending.set(id, both);
  }

  /** Resolves, never rejects, when the work on one blob has ended; undefined when there is none. */
  of(id: string): Promise<void> | undefined {
    return this.#pending.get(id);
  }

  /** Resolves when all work known now has ended. */
  async all(): Promise<void> {
    await Promise.all(this.#pending.values());
  }
}
