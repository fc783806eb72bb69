/**
 * Virtual time. Things that happen after a delay used again and again (a round trip, the batching of haves) wait in a
 * line each, since they come out in the order they went in; other timers wait in a heap.
 * @module
 */
import { Heap } from "./heap.ts";

interface Line {
  readonly delayMs: number;
  times: Float64Array;
  actions: (() => void)[];
  head: number;
  count: number;
}

/** Something that has an event of its own next, as the network has. */
export interface EventSource {
  /** Ms; Infinity for never. */
  readonly nextTime: number;
  /** Lets it happen. `clock.now` is its time. */
  happen(): void;
}

/** See the module. All times are ms since the beginning. */
export class Clock {
  now = 0;
  readonly #lines = new Map<number, Line>();
  readonly #lineList: Line[] = [];
  readonly #heap = new Heap();
  readonly #timers: ((() => void) | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #source: () => EventSource;
  /** Events that happened. */
  events = 0;

  constructor(source: () => EventSource) {
    this.#source = source;
  }

  /** Runs `action` in `delayMs`: for the few delays that a simulation has. */
  after(delayMs: number, action: () => void): void {
    let line = this.#lines.get(delayMs);
    if (!line) {
      line = { delayMs, times: new Float64Array(64), actions: new Array(64), head: 0, count: 0 };
      this.#lines.set(delayMs, line);
      this.#lineList.push(line);
    }
    if (line.count === line.times.length) widen(line);
    const place = (line.head + line.count++) & (line.times.length - 1);
    line.times[place] = this.now + delayMs;
    line.actions[place] = action;
  }

  /** Runs `action` at any time. */
  at(time: number, action: () => void): void {
    const id = this.#free.pop() ?? this.#timers.length;
    this.#timers[id] = action;
    this.#heap.set(id, Math.max(time, this.now));
  }

  /** Lets time pass until `done`, or nothing is left to happen. @returns Whether it was done. */
  run(done: () => boolean, untilMs: number): boolean {
    const source = this.#source();
    while (!done()) {
      let time = source.nextTime;
      let line: Line | undefined;
      for (const other of this.#lineList) {
        if (other.count > 0 && other.times[other.head]! < time) {
          time = other.times[other.head]!;
          line = other;
        }
      }
      const timer = this.#heap.firstTime < time;
      if (timer) time = this.#heap.firstTime;
      if (time > untilMs) return false;
      this.now = Math.max(this.now, time);
      this.events += 1;
      if (timer) this.#fire();
      else if (line) shift(line)();
      else source.happen();
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

function shift(line: Line): () => void {
  const action = line.actions[line.head]!;
  line.head = (line.head + 1) & (line.times.length - 1);
  line.count -= 1;
  return action;
}

function widen(line: Line): void {
  const length = line.times.length;
  const times = new Float64Array(length * 2);
  const actions = new Array<() => void>(length * 2);
  for (let index = 0; index < length; index++) {
    const place = (line.head + index) & (length - 1);
    times[index] = line.times[place]!;
    actions[index] = line.actions[place]!;
  }
  Object.assign(line, { times, actions, head: 0 });
}
