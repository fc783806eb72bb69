/**
 * The order of events: a heap of small integers by time, from which any can be moved or taken out.
 * @module
 */

/** Four children a node: fewer levels, and they lie side by side in memory. */
const WIDTH = 4;

/** Ids 0, 1, 2...; each is in it at most once. */
export class Heap {
  #ids = new Int32Array(1024);
  #times = new Float64Array(1024);
  /** By id: its place, or -1. */
  #places = new Int32Array(1024).fill(-1);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Time of the first; Infinity when it is empty. */
  get firstTime(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#times[0]!;
  }

  /** When `id` is due; Infinity when it is not in it. */
  timeOf(id: number): number {
    const place = id < this.#places.length ? this.#places[id]! : -1;
    return place < 0 ? Number.POSITIVE_INFINITY : this.#times[place]!;
  }

  /** Puts `id` at `time`, from wherever it was. */
  set(id: number, time: number): void {
    this.#grow(id);
    const place = this.#places[id]!;
    if (place < 0) this.#up(this.#size++, id, time);
    else if (time < this.#times[place]!) this.#up(place, id, time);
    else this.#down(place, id, time);
  }

  delete(id: number): void {
    const place = id < this.#places.length ? this.#places[id]! : -1;
    if (place < 0) return;
    this.#places[id] = -1;
    this.#size -= 1;
    if (place === this.#size) return;
    const [last, time] = [this.#ids[this.#size]!, this.#times[this.#size]!];
    this.#up(place, last, time);
    this.#down(this.#places[last]!, last, time);
  }

  /** Takes out the first; the heap must not be empty. */
  shift(): number {
    const first = this.#ids[0]!;
    this.delete(first);
    return first;
  }

  #up(from: number, id: number, time: number): void {
    let place = from;
    while (place > 0) {
      const parent = Math.floor((place - 1) / WIDTH);
      if (this.#times[parent]! <= time) break;
      this.#put(place, this.#ids[parent]!, this.#times[parent]!);
      place = parent;
    }
    this.#put(place, id, time);
  }

  #down(from: number, id: number, time: number): void {
    let place = from;
    for (;;) {
      let least = place * WIDTH + 1;
      if (least >= this.#size) break;
      for (let child = least + 1, end = Math.min(least + WIDTH, this.#size); child < end; child++) {
        if (this.#times[child]! < this.#times[least]!) least = child;
      }
      if (this.#times[least]! >= time) break;
      this.#put(place, this.#ids[least]!, this.#times[least]!);
      place = least;
    }
    this.#put(place, id, time);
  }

  #put(place: number, id: number, time: number): void {
    this.#ids[place] = id;
    this.#times[place] = time;
    this.#places[id] = place;
  }

  #grow(id: number): void {
    if (this.#size + 1 >= this.#ids.length) {
      const [ids, times] = [this.#ids, this.#times];
      this.#ids = new Int32Array(ids.length * 2);
      this.#times = new Float64Array(times.length * 2);
      this.#ids.set(ids);
      this.#times.set(times);
    }
    if (id >= this.#places.length) {
      const places = this.#places;
      this.#places = new Int32Array(Math.max(id + 1, places.length * 2)).fill(-1);
      this.#places.set(places);
    }
  }
}
