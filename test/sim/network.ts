/**
 * Links and what flows over them. Each host has an uplink and a downlink; the flows on a link share it fairly, and what
 * a flow cannot use because its other end is slower goes to the others ("max-min", as TCP comes to over a while).
 *
 * The approximation: a flow that begins takes what both its links have to spare. A moment after a flow began or ended
 * (`settleMs`, about a round trip) the shares of its two links are worked out anew, within what the other ends of their
 * flows have to spare; the rest of the network follows when something happens there. No link ever carries more than it
 * can; a link may carry a little less than it could until its next event, a fraction of the time a piece takes. The
 * cost of an event is the number of flows on two links, whatever the size of the network. Packets, slow start and loss
 * are not there.
 * @module
 */
import type { Clock, DelayLine, EventSource } from "./clock.ts";
import { Heap } from "./heap.ts";

/** Bytes that count as none left. */
const NOTHING = 1e-3;

/** A flow's figures lie side by side: one line of the processor's cache. */
const STRIDE = 8;
const LEFT = 0;
const RATE = 1;
/** When `LEFT` was right. */
const SINCE = 2;
const FINISH = 3;
/** What the uplink, and the downlink, would give the flow. */
const OFFER = 4;
const BYTES = 6;

/** One direction of a host's line. */
interface Link {
  /** 0: uplink, 1: downlink. */
  readonly side: 0 | 1;
  /** Bytes a ms. */
  readonly capacity: number;
  /** Bytes a ms that flow now. */
  load: number;
  readonly flows: number[];
  /** Its shares will be worked out anew. */
  unsettled: boolean;
}

/** See the module. Flows are numbers; a number is used again after its flow ended. */
export class Network<T> implements EventSource {
  readonly #clock: Clock;
  readonly #onDone: (item: T) => void;
  readonly #unsettled: DelayLine<Link>;
  readonly #up: Link[] = [];
  readonly #down: Link[] = [];
  readonly #heap = new Heap();
  readonly #free: number[] = [];
  readonly #items: T[] = [];
  /** By flow: its links. */
  readonly #upOf: Link[] = [];
  readonly #downOf: Link[] = [];
  #flow = new Float64Array(1024 * STRIDE);

  /**
   * @param init.settleMs From a flow's beginning or end until shares follow.
   * @param init.onDone Called with a flow's item when all its bytes are through, the flow being gone.
   */
  constructor(clock: Clock, { settleMs, onDone }: { settleMs: number; onDone: (item: T) => void }) {
    this.#clock = clock;
    this.#onDone = onDone;
    this.#unsettled = clock.line<Link>(settleMs, (link) => {
      link.unsettled = false;
      this.#share(link);
    });
    clock.add(this);
  }

  get nextTime(): number {
    return this.#heap.firstTime;
  }

  /** @param line Bytes a second. @returns The host's number: 0, 1, 2... */
  addHost({ upRate, downRate }: { upRate: number; downRate: number }): number {
    this.#up.push({ side: 0, capacity: upRate / 1000, load: 0, flows: [], unsettled: false });
    this.#down.push({ side: 1, capacity: downRate / 1000, load: 0, flows: [], unsettled: false });
    return this.#up.length - 1;
  }

  /** Begins a flow. @param item What `onDone` will get. @returns The flow. */
  start(from: number, to: number, bytes: number, item: T): number {
    const flow = this.#free.pop() ?? this.#upOf.length;
    if ((flow + 1) * STRIDE > this.#flow.length) this.#grow();
    const [up, down] = [this.#up[from]!, this.#down[to]!];
    this.#upOf[flow] = up;
    this.#downOf[flow] = down;
    this.#items[flow] = item;
    const at = flow * STRIDE;
    const figures = this.#flow;
    figures[at + LEFT] = bytes;
    figures[at + RATE] = 0;
    figures[at + SINCE] = this.#clock.now;
    figures[at + FINISH] = Number.POSITIVE_INFINITY;
    figures[at + OFFER] = up.capacity / (up.flows.push(flow) || 1);
    figures[at + OFFER + 1] = down.capacity / (down.flows.push(flow) || 1);
    figures[at + BYTES] = bytes;
    const rate = Math.min(up.capacity - up.load, down.capacity - down.load);
    if (rate > 0) this.#set(flow, rate);
    this.#unsettle(up);
    this.#unsettle(down);
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
    const at = flow * STRIDE;
    const figures = this.#flow;
    const left = figures[at + LEFT]! - figures[at + RATE]! * (this.#clock.now - figures[at + SINCE]!);
    return figures[at + BYTES]! - Math.max(0, left);
  }

  happen(): void {
    const flow = this.#heap.shift();
    // It had become slower since it was put there.
    const finish = this.#flow[flow * STRIDE + FINISH]!;
    if (finish > this.#clock.now + 1e-9) {
      if (finish < Number.POSITIVE_INFINITY) this.#heap.set(flow, finish);
      return;
    }
    const item = this.#items[flow]!;
    this.#end(flow);
    this.#onDone(item);
  }

  #end(flow: number): void {
    const [up, down] = [this.#upOf[flow]!, this.#downOf[flow]!];
    const rate = this.#flow[flow * STRIDE + RATE]!;
    up.load -= rate;
    down.load -= rate;
    this.#heap.delete(flow);
    remove(up.flows, flow);
    remove(down.flows, flow);
    this.#free.push(flow);
    this.#unsettle(up);
    this.#unsettle(down);
  }

  #unsettle(link: Link): void {
    if (link.unsettled) return;
    link.unsettled = true;
    this.#unsettled.push(link);
  }

  /** Works out the fair level of a link and sets its flows to it. */
  #share(link: Link): void {
    const { flows, capacity, side } = link;
    const figures = this.#flow;
    const mine = OFFER + side;
    const others = OFFER + 1 - side;
    const level = fairLevel(flows, capacity, figures, others);
    // First those that get less: what they give back is there for the rest.
    let load = 0;
    let hungry = false;
    for (let index = 0; index < flows.length; index++) {
      const at = flows[index]! * STRIDE;
      figures[at + mine] = level;
      if (figures[at + RATE]! > level) this.#set(flows[index]!, level);
      const rate = figures[at + RATE]!;
      load += rate;
      hungry ||= rate < level && rate < figures[at + others]!;
    }
    link.load = load;
    if (!hungry) return;
    const otherOf = side === 0 ? this.#downOf : this.#upOf;
    for (let index = 0; index < flows.length; index++) {
      const flow = flows[index]!;
      const at = flow * STRIDE;
      const rate = figures[at + RATE]!;
      const wanted = Math.min(level, figures[at + others]!);
      if (wanted <= rate) continue;
      const other = otherOf[flow]!;
      const spare = Math.min(other.capacity - other.load, capacity - link.load);
      // A hundredth more is not worth the work.
      if (spare > 0 && wanted > rate * 1.01) this.#set(flow, Math.min(wanted, rate + spare));
    }
  }

  #set(flow: number, rate: number): void {
    const now = this.#clock.now;
    const at = flow * STRIDE;
    const figures = this.#flow;
    const old = figures[at + RATE]!;
    const left = Math.max(0, figures[at + LEFT]! - old * (now - figures[at + SINCE]!));
    this.#upOf[flow]!.load += rate - old;
    this.#downOf[flow]!.load += rate - old;
    figures[at + LEFT] = left;
    figures[at + SINCE] = now;
    figures[at + RATE] = rate;
    const finish = left <= NOTHING ? now : rate > 0 ? now + left / rate : Number.POSITIVE_INFINITY;
    figures[at + FINISH] = finish;
    // A later end is found when the earlier one is due.
    if (finish < this.#heap.timeOf(flow)) this.#heap.set(flow, finish);
  }

  #grow(): void {
    const wider = new Float64Array(this.#flow.length * 2);
    wider.set(this.#flow);
    this.#flow = wider;
  }
}

/** The level at which the flows, none above its limit, fill the capacity; the capacity when they cannot fill it. */
function fairLevel(flows: readonly number[], capacity: number, figures: Float64Array, limits: number): number {
  let level = capacity / Math.max(1, flows.length);
  for (let round = 0; round < 6; round++) {
    let taken = 0;
    let limited = 0;
    for (let index = 0; index < flows.length; index++) {
      const limit = figures[flows[index]! * STRIDE + limits]!;
      if (limit >= level) continue;
      taken += limit;
      limited += 1;
    }
    if (limited === flows.length) return capacity;
    const next = (capacity - taken) / (flows.length - limited);
    if (next <= level * 1.01) return next;
    level = next;
  }
  return level;
}

function remove(flows: number[], flow: number): void {
  const last = flows.pop()!;
  if (last !== flow) flows[flows.indexOf(flow)] = last;
}
