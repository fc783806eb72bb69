/**
 * Virtual time. What happens a fixed delay after something (a round trip, the batching of haves) waits in a line, since
 * it comes out in the order it went in; other timers wait in a heap.
 * @module
 */
import { Heap } from "./heap.ts";

/** Something that has an event of its own next, as the network has. */
export interface EventSource {
  /** Ms; Infinity for never. */
  readonly nextTime: number;
  /** Lets it happen. `clock.now` is its time. */
  happen(): void;
}

/** Items that are handled, each, the same delay after they were put in. */
export class DelayLine<T> {
  readonly #clock: Clock;
  readonly #delayMs: number;
  readonly #handle: (item: T) => void;
  /** A ring; its length is a power of two. */
  #times = new Float64Array(64);
  #items: T[] = new Array(64);
  #head = 0;
  #count = 0;
  /** Ms; Infinity when it is empty. */
  nextTime = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, delayMs: number, handle: (item: T) => void) {
    this.#clock = clock;
    this.#delayMs = delayMs;
    this.#handle = handle;
  }

  push(item: T): void {
    if (this.#count === this.#times.length) this.#widen();
    const place = (this.#head + this.#count) & (this.#times.length - 1);
    const time = this.#clock.now + this.#delayMs;
    this.#times[place] = time;
    this.#items[place] = item;
    if (this.#count === 0) this.nextTime = time;
    this.#count += 1;
  }

  happen(): void {
    const item = this.#items[this.#head]!;
    this.#head = (this.#head + 1) & (this.#times.length - 1);
    this.#count -= 1;
    this.nextTime = this.#count === 0 ? Number.POSITIVE_INFINITY : this.#times[this.#head]!;
    this.#handle(item);
  }

  #widen(): void {
    const length = this.#times.length;
    const times = new Float64Array(length * 2);
    const items = new Array<T>(length * 2);
    for (let index = 0; index < length; index++) {
      const place = (this.#head + index) & (length - 1);
      times[index] = this.#times[place]!;
      items[index] = this.#items[place]!;
    }
    this.#times = times;
    this.#items = items;
    this.#head = 0;
  }
}

/** See the module. All times are ms since the beginning. */
export class Clock {
  now = 0;
  /** Events that happened. */
  events = 0;
  readonly #sources: EventSource[] = [];
  readonly #heap = new Heap();
  readonly #timers: ((() => void) | undefined)[] = [];
  readonly #free: number[] = [];

  /** Takes part in the order of events. Of several due at once the one that was added first goes first. */
  add(source: EventSource): void {
    this.#sources.push(source);
  }

  /** A line for `handle`; for the few delays that a simulation has. */
  line<T>(delayMs: number, handle: (item: T) => void): DelayLine<T> {
    const line = new DelayLine(this, delayMs, handle);
    this.add(line as EventSource);
    return line;
  }

  /** Runs `action` at a time, now at the earliest. */
  at(time: number, action: () => void): void {
    const id = this.#free.pop() ?? this.#timers.length;
    this.#timers[id] = action;
    this.#heap.set(id, Math.max(time, this.now));
  }

  /** Runs `action` in `delayMs`. */
  after(delayMs: number, action: () => void): void {
    this.at(this.now + delayMs, action);
  }

  /** Lets time pass until `done`, or nothing is left to happen before `untilMs`. @returns Whether it was done. */
  run(done: () => boolean, untilMs: number): boolean {
    const sources = this.#sources;
    while (!done()) {
      let next: EventSource | undefined;
      let time = this.#heap.firstTime;
      for (let index = 0; index < sources.length; index++) {
        const source = sources[index]!;
        if (source.nextTime >= time) continue;
        time = source.nextTime;
        next = source;
      }
      if (time > untilMs) return false;
      this.now = Math.max(this.now, time);
      this.events += 1;
      if (next) next.happen();
      else this.#fire();
    }
    return true;
  }

  #fire(): void {
    const id = this.#heap.shift();
    const action = this.#timers[id]!;
    this.#timers[id] = undefined;
    this.#free.push(id);
    action();
  }
}
