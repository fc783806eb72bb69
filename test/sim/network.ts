/**
 * Links and what flows over them. Each host has an uplink and a downlink; the flows on a link share it fairly, and what
 * a flow cannot use because its other end is slower goes to the others ("max-min", as TCP comes to over a while).
 *
 * The approximation: when a flow begins or ends, the shares of ITS two links are worked out anew, within what the other
 * ends of their flows have to spare; the rest of the network follows when something happens there. No link ever
 * carries more than it can; a link may carry a little less than it could until its next event, a fraction of the time
 * a piece takes. The cost of an event is the number of flows on two links, whatever the size of the network. Packets,
 * slow start and loss are not there.
 * @module
 */
import type { Clock, EventSource } from "./clock.ts";
import { Heap } from "./heap.ts";

/** Bytes that count as none left. */
const NOTHING = 1e-3;

/** One direction of a host's line. */
interface Link {
  /** Bytes a ms. */
  capacity: number;
  /** Bytes a ms that flow now. */
  load: number;
  readonly flows: number[];
}

/** See the module. Flows are numbers; a number is used again after its flow ended. */
export class Network implements EventSource {
  readonly #clock: Clock;
  readonly #up: Link[] = [];
  readonly #down: Link[] = [];
  readonly #heap = new Heap();
  readonly #free: number[] = [];
  readonly #onDone: (() => void)[] = [];
  readonly #ends: [Link, Link][] = [];
  #bytes = new Float64Array(1024);
  #left = new Float64Array(1024);
  #rate = new Float64Array(1024);
  #since = new Float64Array(1024);
  #finish = new Float64Array(1024);
  /** What the uplink, and the downlink, would give the flow. */
  #offers: [Float64Array, Float64Array] = [new Float64Array(1024), new Float64Array(1024)];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get nextTime(): number {
    return this.#heap.firstTime;
  }

  /** @param upRate @param downRate Bytes a second. @returns The host's number: 0, 1, 2... */
  addHost({ upRate, downRate }: { upRate: number; downRate: number }): number {
    this.#up.push({ capacity: upRate / 1000, load: 0, flows: [] });
    this.#down.push({ capacity: downRate / 1000, load: 0, flows: [] });
    return this.#up.length - 1;
  }

  /** Begins a flow. @param onDone Called when all bytes are through, the flow being gone. */
  start(from: number, to: number, bytes: number, onDone: () => void): number {
    const flow = this.#free.pop() ?? this.#ends.length;
    if (flow >= this.#bytes.length) this.#grow();
    const [up, down] = [this.#up[from]!, this.#down[to]!];
    this.#ends[flow] = [up, down];
    this.#onDone[flow] = onDone;
    this.#bytes[flow] = bytes;
    this.#left[flow] = bytes;
    this.#rate[flow] = 0;
    this.#since[flow] = this.#clock.now;
    this.#finish[flow] = Number.POSITIVE_INFINITY;
    this.#offers[1][flow] = Number.POSITIVE_INFINITY;
    up.flows.push(flow);
    down.flows.push(flow);
    this.#share(up, 0);
    this.#share(down, 1);
    return flow;
  }

  /** Breaks a flow off. @returns Bytes that had come through. */
  cancel(flow: number): number {
    const through = this.through(flow);
    this.#end(flow);
    return through;
  }

  /** Bytes that came through so far. */
  through(flow: number): number {
    const left = this.#left[flow]! - this.#rate[flow]! * (this.#clock.now - this.#since[flow]!);
    return this.#bytes[flow]! - Math.max(0, left);
  }

  happen(): void {
    const flow = this.#heap.shift();
    // It had become slower since it was put there.
    if (this.#finish[flow]! > this.#clock.now + 1e-9) {
      if (this.#finish[flow]! < Number.POSITIVE_INFINITY) this.#heap.set(flow, this.#finish[flow]!);
      return;
    }
    const done = this.#onDone[flow]!;
    this.#end(flow);
    done();
  }

  #end(flow: number): void {
    const [up, down] = this.#ends[flow]!;
    this.#heap.delete(flow);
    remove(up.flows, flow);
    remove(down.flows, flow);
    this.#free.push(flow);
    this.#share(up, 0);
    this.#share(down, 1);
  }

  /** Works out the fair level of a link and sets its flows to it. @param side 0: uplink, 1: downlink. */
  #share(link: Link, side: 0 | 1): void {
    const { flows, capacity } = link;
    const [mine, others] = [this.#offers[side], this.#offers[1 - side]!];
    const level = fairLevel(flows, capacity, others);
    link.load = 0;
    for (let index = 0; index < flows.length; index++) link.load += this.#rate[flows[index]!]!;
    // First those that get less: what they give back is there for the rest.
    for (let index = 0; index < flows.length; index++) {
      const flow = flows[index]!;
      mine[flow] = level;
      if (this.#rate[flow]! > level) this.#set(flow, level);
    }
    for (let index = 0; index < flows.length; index++) {
      const flow = flows[index]!;
      const other = this.#ends[flow]![1 - side]!;
      const rate = this.#rate[flow]!;
      const wanted = Math.min(level, others[flow]!);
      if (wanted <= rate) continue;
      const spare = Math.max(0, Math.min(other.capacity - other.load, capacity - link.load));
      this.#set(flow, Math.min(wanted, rate + spare));
    }
  }

  #set(flow: number, rate: number): void {
    const now = this.#clock.now;
    const old = this.#rate[flow]!;
    const left = Math.max(0, this.#left[flow]! - old * (now - this.#since[flow]!));
    const [up, down] = this.#ends[flow]!;
    up.load += rate - old;
    down.load += rate - old;
    this.#left[flow] = left;
    this.#since[flow] = now;
    this.#rate[flow] = rate;
    const finish = left <= NOTHING ? now : rate > 0 ? now + left / rate : Number.POSITIVE_INFINITY;
    this.#finish[flow] = finish;
    // A later end is found when the earlier one is due.
    if (finish < this.#heap.timeOf(flow)) this.#heap.set(flow, finish);
  }

  #grow(): void {
    const wider = (old: Float64Array): Float64Array<ArrayBuffer> => {
      const array = new Float64Array(old.length * 2);
      array.set(old);
      return array;
    };
    this.#bytes = wider(this.#bytes);
    this.#left = wider(this.#left);
    this.#rate = wider(this.#rate);
    this.#since = wider(this.#since);
    this.#finish = wider(this.#finish);
    this.#offers = [wider(this.#offers[0]), wider(this.#offers[1])];
  }
}

/** The level at which the flows, none above its limit, fill the capacity; the capacity when they cannot fill it. */
function fairLevel(flows: readonly number[], capacity: number, limits: Float64Array): number {
  let level = capacity / Math.max(1, flows.length);
  for (let round = 0; round < 8; round++) {
    let taken = 0;
    let limited = 0;
    for (let index = 0; index < flows.length; index++) {
      const limit = limits[flows[index]!]!;
      if (limit >= level) continue;
      taken += limit;
      limited += 1;
    }
    if (limited === flows.length) return capacity;
    const next = (capacity - taken) / (flows.length - limited);
    if (next <= level * 1.001) return next;
    level = next;
  }
  return level;
}

function remove(flows: number[], flow: number): void {
  const last = flows.pop()!;
  if (last !== flow) flows[flows.indexOf(flow)] = last;
}
