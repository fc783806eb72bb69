/**
 * A host's download, with the decisions of the product: `pickPiece`, `requestLimits`, `urgentPieces`. What is here is
 * the wiring that `lib/bt/download.ts` is in the product.
 * @module
 */
import { Bitfield, inPieceOrder } from "../../lib/bt/bitfield.ts";
import type { Layout } from "../../lib/bt/layout.ts";
import { RunningMedian } from "../../lib/bt/median.ts";
import { isEndgame, isLate, pickPiece } from "../../lib/bt/picker.ts";
import { type RequestLimits, requestLimits } from "../../lib/bt/request-limits.ts";
import { urgentPieces, wantedPiece } from "../../lib/bt/urgency.ts";
import type { SimHost } from "./sim-host.ts";
import type { Source } from "./source.ts";
import { roundTrip, type SimSwarm } from "./swarm.ts";
import { Transfer } from "./transfer.ts";

/** How often lateness is looked at, at least, ms. */
const TICK_MS = 50;
/** A seeder at which too many wait is asked again after so long, ms, then after twice as long, and so on. */
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 10_000;
/** Requests for late pieces beyond the window. */
const LATE_ROOM = 2;
/** The share of a new value in a smoothed one. */
const SMOOTH = 1 / 16;

/** The client's place in the blob. */
interface Demand {
  position: number;
  readonly end: number;
  waitingSince: number | undefined;
}

/** See the module. */
export class SimDownload {
  readonly have: Bitfield;
  /** What was told of it. */
  readonly offered: Bitfield;
  readonly flights = new Map<number, Transfer[]>();
  /** How many sources offer each piece that is missing here. */
  readonly availability: Uint16Array;
  readonly median = new RunningMedian();
  readonly #swarm: SimSwarm;
  readonly #host: SimHost;
  readonly #demand: Demand;
  readonly #demands: Set<Demand>;
  /** What `urgency.ts` looks at. */
  readonly #readers: { layout: Layout; have: Bitfield; demands: Set<Demand> };
  #limits: RequestLimits = requestLimits({ peers: 0, latencyMs: undefined, gapMs: undefined, medianMs: undefined });
  /** Requests under way at peers, and at the seeder. */
  #atPeers = 0;
  #atSeeder = 0;
  #seederRestsUntil = 0;
  #backoffMs = FIRST_BACKOFF_MS;
  #gapMs: number | undefined;
  #arrivedAt: number | undefined;
  #ticking = false;

  constructor(swarm: SimSwarm, host: SimHost) {
    const { layout, scenario } = swarm;
    this.#swarm = swarm;
    this.#host = host;
    this.have = new Bitfield(layout.count);
    this.offered = new Bitfield(layout.count);
    this.availability = new Uint16Array(layout.count);
    this.#demand = { position: 0, end: layout.size, waitingSince: host.joinsAt };
    this.#demands = new Set(scenario.reader ? [this.#demand] : []);
    this.#readers = { layout, have: this.have, demands: this.#demands };
  }

  get sources(): readonly Source[] {
    return this.#host.neighbourhood.sources;
  }

  /** A source has a piece that this host lacks. */
  onHave(source: Source): void {
    if (this.#host.done || this.#atPeers >= this.#limits.window || source.busy.length >= this.#limits.depth) return;
    this.#askSource(source, this.#urgent());
    this.#tickLater();
  }

  onSeederRefused(): void {
    const { clock, random } = this.#swarm;
    this.#atSeeder -= 1;
    if (this.#host.done) return;
    this.#seederRestsUntil = clock.now + this.#backoffMs * (0.5 + random());
    this.#backoffMs = Math.min(MAX_BACKOFF_MS, this.#backoffMs * 2);
    clock.at(this.#seederRestsUntil, () => this.askSeeder());
  }

  onSeederNothing(): void {
    this.#atSeeder -= 1;
    if (!this.#host.done) this.#swarm.clock.after(TICK_MS, () => this.askSeeder());
  }

  /** The seeder begins to send a piece. */
  onSeederPiece(piece: number): void {
    const { network, seeder } = this.#swarm;
    this.#backoffMs = FIRST_BACKOFF_MS;
    const transfer = this.#takeOff(piece, undefined);
    transfer.flow = network.start(seeder.line, this.#host.line, transfer.bytes, transfer);
  }

  /** Asks peers for what there is to ask. */
  ask(): void {
    if (this.#host.done) return;
    const { sources } = this;
    const { window, depth } = this.#reckon();
    const urgent = this.#urgent();
    let at = Math.floor(this.#swarm.random() * sources.length);
    for (let tried = 0; tried < sources.length && this.#atPeers < window; tried++, at++) {
      const source = sources[at < sources.length ? at : at - sources.length]!;
      while (!source.dry && source.busy.length < depth && this.#atPeers < window) this.#askSource(source, urgent);
    }
    this.#tickLater();
  }

  /** Asks the seeder, who chooses. */
  askSeeder(): void {
    const { clock, scenario, seeder, totals } = this.#swarm;
    if (this.#host.done || this.#seederRestsUntil > clock.now) return;
    const state = { now: clock.now, medianMs: this.median.value, endgame: isEndgame(this) };
    for (const limit = this.#reckon().seeder; this.#atSeeder < limit; ) {
      const asked = this.have.clone();
      for (const [piece, under] of this.flights) {
        if (under.some(({ source }) => !source) || !isLate(under, state)) asked.add(piece);
      }
      if (asked.full) return;
      const want = wantedPiece(this.#readers, { ...state, asked, offered: this.availability });
      this.#atSeeder += 1;
      totals.seederRequests += 1;
      clock.after(scenario.zoneRttMs, () => {
        if (!this.#host.done) seeder.ask(this.#host, asked, want);
      });
    }
  }

  /** All bytes of a piece are here. */
  arrived(transfer: Transfer): void {
    const { clock, seeder, totals, tellings } = this.#swarm;
    const { piece, source, bytes } = transfer;
    const ms = clock.now - transfer.startedAt;
    this.#land(transfer);
    this.median.add(ms);
    if (this.#arrivedAt !== undefined) this.#gapMs = smoothed(this.#gapMs, clock.now - this.#arrivedAt);
    this.#arrivedAt = clock.now;
    if (source) {
      source.note(ms, clock.now);
      source.dry = false;
      if (source.zone !== this.#host.zone) totals.crossed += bytes;
    } else seeder.onSent(transfer.startedAt, bytes);
    if (!this.have.add(piece)) totals.wasted += bytes;
    else {
      this.#readOn(piece);
      totals.unread += this.have.count / this.have.length - this.#demand.position / this.#swarm.layout.size;
      tellings.push(transfer);
    }
    const copies = this.flights.get(piece);
    if (copies) for (const copy of [...copies]) this.abandon(copy);
    if (this.have.full) {
      this.#host.finish();
      return;
    }
    this.ask();
    this.askSeeder();
  }

  /** Tells those who follow this host of a piece. */
  tell(piece: number): void {
    const { followers } = this.#host.neighbourhood;
    this.#swarm.totals.haves += followers.length;
    this.offered.add(piece);
    const word = piece >> 5;
    // `inPieceOrder` is its own inverse.
    const mask = inPieceOrder(0x80000000 >>> (piece & 31));
    for (let index = 0; index < followers.length; index++) {
      const follower = followers[index]!;
      if ((follower.haveWords[word]! & mask) !== 0) continue;
      follower.availability[piece]! += 1;
      follower.dry = false;
      follower.owner.download.onHave(follower);
    }
  }

  /** Counts a source's pieces in, or out when it is left. */
  count(source: Source, change: 1 | -1): void {
    for (const piece of source.peer.download.offered) this.availability[piece]! += change;
  }

  /** Gives a request up. */
  abandon(transfer: Transfer): void {
    const { network, seeder, totals } = this.#swarm;
    this.#land(transfer);
    const through = transfer.flow < 0 ? 0 : network.cancel(transfer.flow);
    totals.wasted += through;
    if (transfer.source) return;
    seeder.onSent(transfer.startedAt, through);
    this.askSeeder();
  }

  /** Gives all up. */
  stop(): void {
    this.#swarm.seeder.forget(this.#host);
    for (const list of [...this.flights.values()]) for (const transfer of [...list]) this.abandon(transfer);
  }

  #reckon(): RequestLimits {
    const { rttMs, window, depth } = this.#swarm.scenario;
    const latencies = { latencyMs: rttMs, distanceMs: rttMs };
    const load = { ...latencies, peers: this.sources.length, gapMs: this.#gapMs, medianMs: this.median.value };
    const limits = requestLimits(load);
    this.#limits = { window: window || limits.window, depth: depth || limits.depth, seeder: limits.seeder };
    return this.#limits;
  }

  #urgent(): readonly number[] {
    if (this.#demands.size === 0) return [];
    return urgentPieces(this.#readers, { now: this.#swarm.clock.now, medianMs: this.median.value });
  }

  #askSource(source: Source, urgent: readonly number[]): void {
    const { clock, random, totals, seeder, scenario, nearRequests, farRequests } = this.#swarm;
    const piece = pickPiece({
      offered: source.peer.download.offered,
      have: this.have,
      known: seeder.have,
      flights: this.flights,
      availability: this.availability,
      urgent,
      medianMs: this.median.value,
      now: clock.now,
      random,
    });
    if (piece === undefined) {
      source.dry = true;
      return;
    }
    totals.pieceRequests += 1;
    const transfer = this.#takeOff(piece, source);
    source.busy.push(transfer);
    const near = roundTrip(scenario, this.#host.zone, source.zone) === scenario.rttMs;
    (near ? nearRequests : farRequests).push(transfer);
  }

  #takeOff(piece: number, source: Source | undefined): Transfer {
    const transfer = new Transfer(this.#swarm, { to: this.#host, piece, source });
    const list = this.flights.get(piece);
    if (list) list.push(transfer);
    else this.flights.set(piece, [transfer]);
    if (source) this.#atPeers += 1;
    return transfer;
  }

  #land(transfer: Transfer): void {
    transfer.over = true;
    const list = this.flights.get(transfer.piece)!;
    if (list.length === 1) this.flights.delete(transfer.piece);
    else list.splice(list.indexOf(transfer), 1);
    const { source } = transfer;
    if (source) {
      this.#atPeers -= 1;
      source.busy.splice(source.busy.indexOf(transfer), 1);
    } else this.#atSeeder -= 1;
  }

  /** The client reads what it can. */
  #readOn(piece: number): void {
    const { layout, clock } = this.#swarm;
    if (layout.start(piece) !== this.#demand.position) return;
    this.#demand.position = Math.min(layout.size, layout.start(this.have.firstMissing(piece)));
    this.#demand.waitingSince = clock.now;
  }

  /** Looks again soon: lateness comes by time alone. */
  #tickLater(): void {
    if (this.#ticking || this.flights.size === 0) return;
    this.#ticking = true;
    const { clock } = this.#swarm;
    clock.after(Math.max(TICK_MS, (this.median.value ?? 0) / 4), () => {
      this.#ticking = false;
      if (this.#host.done) return;
      const state = { now: clock.now, medianMs: this.median.value, endgame: isEndgame(this) };
      let late = this.#urgent().length > 0;
      for (const under of this.flights.values()) late ||= isLate(under, state);
      if (late) this.#askLate();
      this.#tickLater();
    });
  }

  #askLate(): void {
    const { window, depth } = this.#reckon();
    const urgent = this.#urgent();
    for (const source of this.sources) {
      if (this.#atPeers >= window + LATE_ROOM) break;
      source.dry = false;
      if (source.busy.length < depth) this.#askSource(source, urgent);
    }
    this.askSeeder();
  }
}

function smoothed(old: number | undefined, value: number): number {
  return old === undefined ? value : old + (value - old) * SMOOTH;
}
