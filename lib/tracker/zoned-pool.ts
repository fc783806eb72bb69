/** @module Members by zone, with adding, removing and picking by index all in constant time. */

/** Holds items under a zone. Who adds an item keeps its place, and is told when it changes. */
export class ZonedPool<T extends { readonly zone: string }> {
  readonly #zones = new Map<string, T[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** To choose from; not to be kept. */
  get zones(): ReadonlyMap<string, readonly T[]> {
    return this.#zones;
  }

  /** @returns the item's place in its zone */
  add(item: T): number {
    let zone = this.#zones.get(item.zone);
    if (zone === undefined) {
      zone = [];
      this.#zones.set(item.zone, zone);
    }
    this.#size += 1;
    return zone.push(item) - 1;
  }

  /** Takes out the item at `place`. @returns the item that has that place now, if another had to move there */
  remove(zone: string, place: number): T | undefined {
    const items = this.#zones.get(zone);
    const last = items?.pop();
    if (items === undefined || last === undefined) return undefined;
    this.#size -= 1;
    if (items.length === 0) this.#zones.delete(zone);
    if (place === items.length) return undefined;
    items[place] = last;
    return last;
  }
}
