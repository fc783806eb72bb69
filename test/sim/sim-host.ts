/**
 * A host that downloads and uploads, with the decisions of the product: `pickPiece`, `urgentPieces`,
 * `chooseNeighbours`. What is here is the wiring that `lib/bt/download.ts` and `fetch.ts` are in the product.
 * @module
 */
import { Bitfield, inPieceOrder } from "../../lib/bt/bitfield.ts";
import { Layout } from "../../lib/bt/layout.ts";
import { RunningMedian } from "../../lib/bt/median.ts";
import { type Candidate, chooseNeighbours } from "../../lib/bt/neighbours.ts";
import { isLate, pickPiece } from "../../lib/bt/picker.ts";
import { urgentPieces } from "../../lib/bt/urgency.ts";
import { Source } from "./source.ts";
import { pieceBytes, type SimSwarm } from "./swarm.ts";
import { Transfer } from "./transfer.ts";

/** How often lateness is looked at, at least, ms. */
const TICK_MS = 50;
/** How often neighbours are looked at, ms. */
const NEIGHBOURS_MS = 1000;
/** A peer that refused or was left rests, ms. */
const REST_MS = 10_000;
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 10_000;

/** See the module. */
export class SimHost {
  readonly id: number;
  readonly zone: string;
  readonly have: Bitfield;
  /** What was told of it. */
  readonly offered: Bitfield;
  readonly flights = new Map<number, Transfer[]>();
  readonly sources: Source[] = [];
  /** Who follows this host. */
  readonly followers: Source[] = [];
  readonly joinsAt: number;
  finishedAt: number | undefined;
  dead = false;
  joined = false;
  /** Requests under way at peers. */
  inFlight = 0;
  readonly #swarm: SimSwarm;
  readonly availability: Uint16Array;
  readonly #median = new RunningMedian();
  readonly #candidates = new Map<number, Candidate<number>>();
  readonly #resting = new Map<number, number>();
  readonly #layout: Layout;
  readonly #demand: { position: number; end: number; waitingSince: number | undefined };
  readonly #demands: Set<{ position: number; readonly end: number; waitingSince: number | undefined }>;
  /** Transfers to others that wait for a slot. */
  readonly #line: Transfer[] = [];
  #uploads = 0;
  #atSeeder = 0;
  #seederRestsUntil = 0;
  #backoffMs = FIRST_BACKOFF_MS;
  #ticking = false;

  constructor(swarm: SimSwarm, init: { id: number; zone: string; joinsAt: number }) {
    this.#swarm = swarm;
    this.id = init.id;
    this.zone = init.zone;
    this.joinsAt = init.joinsAt;
    const { size, pieceLength } = swarm.scenario;
    this.#layout = new Layout(size, pieceLength);
    this.have = new Bitfield(this.#layout.count);
    this.offered = new Bitfield(this.#layout.count);
    this.availability = new Uint16Array(this.#layout.count);
    this.#demand = { position: 0, end: size, waitingSince: init.joinsAt };
    this.#demands = new Set(swarm.scenario.reader ? [this.#demand] : []);
  }

  get done(): boolean {
    return this.finishedAt !== undefined || this.dead;
  }

  join(): void {
    this.joined = true;
    this.#announce();
    this.#askSeeder();
    this.#reviewLater();
  }

  /** The process is killed, or the machine loses power. */
  die(): void {
    const { clock, scenario, seeder, tracker } = this.#swarm;
    this.dead = true;
    tracker.leave(this.id);
    seeder.forget(this);
    for (const list of [...this.flights.values()]) for (const transfer of [...list]) this.#abandon(transfer);
    for (const source of [...this.sources]) this.#leave(source);
    for (const follower of [...this.followers]) {
      for (const transfer of follower.busy) this.#stopSending(transfer);
      if (!scenario.dieSilently) clock.after(scenario.rttMs, () => follower.owner.#onGone(follower));
    }
  }

  /** A source has a piece that this host lacks, and there is room to ask. */
  onHave(source: Source): void {
    if (this.done) return;
    this.#askSource(source, this.#urgent());
    this.#tickLater();
  }

  onSeederRefused(): void {
    const { clock, random } = this.#swarm;
    this.#atSeeder -= 1;
    if (this.done) return;
    const wait = this.#backoffMs * (0.5 + random());
    this.#backoffMs = Math.min(MAX_BACKOFF_MS, this.#backoffMs * 2);
    this.#seederRestsUntil = clock.now + wait;
    clock.at(this.#seederRestsUntil, () => this.#askSeeder());
  }

  onSeederNothing(): void {
    const { clock } = this.#swarm;
    this.#atSeeder -= 1;
    if (this.done) return;
    clock.after(TICK_MS, () => this.#askSeeder());
  }

  /** The seeder begins to send a piece. */
  onSeederPiece(piece: number): void {
    const { network, seeder, scenario } = this.#swarm;
    this.#backoffMs = FIRST_BACKOFF_MS;
    const transfer = this.#takeOff(piece, undefined);
    transfer.flow = network.start(seeder.id, this.id, pieceBytes(scenario, piece), () => this.#onArrived(transfer));
  }

  #announce(): void {
    if (this.done) return;
    const { clock, scenario, tracker, totals } = this.#swarm;
    totals.announces += 1;
    clock.after(scenario.zoneRttMs, () => {
      if (this.done) return;
      for (const peer of tracker.announce({ id: this.id, zone: this.zone, complete: false }, scenario.numwant)) {
        this.#hearOf(peer);
      }
      this.#review();
    });
    clock.after(scenario.announceMs, () => this.#announce());
  }

  #hearOf(peer: { id: number; zone: string }): void {
    if (peer.id === this.id || this.sources.some(({ key }) => key === peer.id)) return;
    this.#candidates.set(peer.id, { key: peer.id, zone: peer.zone });
  }

  #reviewLater(): void {
    this.#swarm.clock.after(NEIGHBOURS_MS, () => {
      if (this.done) return;
      this.#review();
      this.#reviewLater();
    });
  }

  /** Leaves and follows peers as `chooseNeighbours` says. */
  #review(): void {
    const { clock, scenario, hosts } = this.#swarm;
    const now = clock.now;
    const candidates = [...this.#candidates.values()].filter(({ key }) => (this.#resting.get(key) ?? 0) <= now);
    if (candidates.length === 0 && this.sources.length === 0) return;
    const { degree, seek } = scenario;
    const choice = chooseNeighbours({
      neighbours: this.sources,
      candidates,
      zone: this.zone,
      degree,
      seek,
      medianMs: this.#median.value,
      now,
    });
    for (const key of choice.drop) {
      this.#resting.set(key, now + REST_MS);
      const source = this.sources.find((other) => other.key === key)!;
      this.#leave(source);
      this.#candidates.set(key, { key, zone: source.zone });
    }
    for (const key of choice.add) this.#follow(hosts[key]!);
  }

  #follow(peer: SimHost): void {
    const { clock, totals } = this.#swarm;
    const source = new Source(this, peer, clock.now);
    this.#candidates.delete(peer.id);
    this.sources.push(source);
    totals.follows += 1;
    clock.after(this.#rtt(peer), () => peer.#onFollower(source));
  }

  /** Another host opens this one's list of pieces. */
  #onFollower(source: Source): void {
    const { clock, scenario, totals } = this.#swarm;
    if (source.left) return;
    if (this.dead) {
      if (!scenario.dieSilently) clock.after(scenario.rttMs, () => source.owner.#onGone(source));
      return;
    }
    if (this.done || !this.joined) {
      if (this.followers.length < scenario.followers) this.#accept(source);
      else this.#refuse(source);
      return;
    }
    const knows = this.sources.some(({ key }) => key === source.owner.id);
    if (!knows && (this.sources.length >= scenario.degree || this.followers.length >= scenario.degree)) {
      const old = this.sources.filter(
        (other) => other.busy.length === 0 && clock.now - other.since >= scenario.settleMs,
      );
      const pool = (old.length > 0 ? old : []).sort((a, b) => a.since - b.since);
      const victim = pool[Math.floor((this.#swarm.random() * pool.length) / 2)];
      if (!victim) {
        this.#refuse(source);
        return;
      }
      totals.displaced += 1;
      this.#leave(victim);
      const reverse = this.followers.find((other) => other.owner === victim.peer);
      if (reverse) clock.after(this.#rtt(victim.peer), () => reverse.owner.#onGone(reverse));
      if (reverse) this.followers.splice(this.followers.indexOf(reverse), 1);
    }
    this.#accept(source);
    if (!knows && this.sources.length < scenario.degree) this.#follow(source.owner);
  }

  #refuse(source: Source): void {
    this.#swarm.totals.followRefusals += 1;
    source.owner.#onRefused(source);
  }

  #accept(source: Source): void {
    this.followers.push(source);
    source.owner.#onFollowing(source);
  }

  #onFollowing(source: Source): void {
    source.following = true;
    for (const piece of source.peer.offered) this.availability[piece]! += 1;
    this.#ask();
  }

  #onRefused(source: Source): void {
    this.#resting.set(source.key, this.#swarm.clock.now + REST_MS);
    this.#onGone(source);
  }

  #onGone(source: Source): void {
    if (source.left) return;
    this.#leave(source);
    if (this.done) return;
    this.#review();
    this.#ask();
  }

  #leave(source: Source): void {
    source.left = true;
    for (const transfer of [...source.busy]) this.#abandon(transfer);
    this.sources.splice(this.sources.indexOf(source), 1);
    const place = source.peer.followers.indexOf(source);
    if (place >= 0) source.peer.followers.splice(place, 1);
    if (source.following) for (const piece of source.peer.offered) this.availability[piece]! -= 1;
  }

  #urgent(): readonly number[] {
    if (!this.#swarm.scenario.reader) return [];
    return urgentPieces(
      { layout: this.#layout, have: this.have, demands: this.#demands },
      { now: this.#swarm.clock.now, medianMs: this.#median.value },
    );
  }

  /** Asks whom there is something to ask. */
  #ask(): void {
    const { window, depth } = this.#swarm.scenario;
    if (this.done) return;
    const count = this.sources.length;
    const urgent = this.#urgent();
    let at = Math.floor(this.#swarm.random() * count);
    for (let tried = 0; tried < count && this.inFlight < window; tried++, at++) {
      const source = this.sources[at % count]!;
      while (!source.dry && source.busy.length < depth && this.inFlight < window) this.#askSource(source, urgent);
    }
    this.#tickLater();
  }

  #askSource(source: Source, urgent: readonly number[]): void {
    const { clock, random, totals, seeder } = this.#swarm;
    const piece = pickPiece({
      offered: source.peer.offered,
      have: this.have,
      known: seeder.have,
      flights: this.flights,
      availability: this.availability,
      urgent,
      medianMs: this.#median.value,
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
    clock.after(this.#rtt(source.peer), () => source.peer.#onRequest(transfer));
  }

  #onRequest(transfer: Transfer): void {
    if (transfer.over || this.dead) return;
    if (this.#uploads >= this.#swarm.scenario.slots) this.#line.push(transfer);
    else this.#send(transfer);
  }

  #send(transfer: Transfer): void {
    const to = transfer.source!.owner;
    this.#uploads += 1;
    transfer.flow = this.#swarm.network.start(this.id, to.id, transfer.bytes, () => {
      this.#onSent();
      to.#onArrived(transfer);
    });
  }

  #onSent(): void {
    this.#uploads -= 1;
    if (this.#line.length === 0) return;
    let at = 0;
    if (this.#swarm.scenario.needy) {
      for (let index = 1; index < this.#line.length; index++) {
        if (this.#line[index]!.source!.owner.have.count < this.#line[at]!.source!.owner.have.count) at = index;
      }
    }
    this.#send(this.#line.splice(at, 1)[0]!);
  }

  /** The asker does not want it any more, or this host is gone. */
  #stopSending(transfer: Transfer): void {
    if (transfer.flow >= 0) {
      this.#swarm.totals.wasted += this.#swarm.network.cancel(transfer.flow);
      transfer.flow = -1;
      this.#onSent();
      return;
    }
    const place = this.#line.indexOf(transfer);
    if (place >= 0) this.#line.splice(place, 1);
  }

  /** Asks the seeder, who chooses. */
  #askSeeder(): void {
    const { clock, scenario, seeder, totals } = this.#swarm;
    if (this.done || this.#seederRestsUntil > clock.now) return;
    while (this.#atSeeder < scenario.seederDepth) {
      const asked = this.have.clone();
      for (const [piece, under] of this.flights) {
        if (under.some(({ source }) => !source) || !isLate(under, { now: clock.now, medianMs: this.#median.value }))
          asked.add(piece);
      }
      if (asked.full) return;
      const want = this.#urgent().find((piece) => !asked.has(piece));
      this.#atSeeder += 1;
      totals.seederRequests += 1;
      clock.after(scenario.zoneRttMs, () => {
        if (!this.done) seeder.ask(this, asked, want);
      });
    }
  }

  #takeOff(piece: number, source: Source | undefined): Transfer {
    const transfer = new Transfer(this.#swarm, { piece, source, bytes: pieceBytes(this.#swarm.scenario, piece) });
    const list = this.flights.get(piece);
    if (list) list.push(transfer);
    else this.flights.set(piece, [transfer]);
    if (source) this.inFlight += 1;
    return transfer;
  }

  #land(transfer: Transfer): void {
    transfer.over = true;
    const list = this.flights.get(transfer.piece)!;
    if (list.length === 1) this.flights.delete(transfer.piece);
    else list.splice(list.indexOf(transfer), 1);
    if (!transfer.source) {
      this.#atSeeder -= 1;
      return;
    }
    this.inFlight -= 1;
    transfer.source.busy.splice(transfer.source.busy.indexOf(transfer), 1);
  }

  /** Gives a request up. */
  #abandon(transfer: Transfer): void {
    const { network, seeder, totals } = this.#swarm;
    this.#land(transfer);
    if (transfer.source) {
      transfer.source.peer.#stopSending(transfer);
      return;
    }
    const through = network.cancel(transfer.flow);
    totals.wasted += through;
    seeder.onSent(transfer.startedAt, through);
    this.#askSeeder();
  }

  #onArrived(transfer: Transfer): void {
    const { clock, seeder, totals, scenario } = this.#swarm;
    const { piece, source, bytes } = transfer;
    const now = clock.now;
    this.#land(transfer);
    this.#median.add(now - transfer.startedAt);
    source?.note(now - transfer.startedAt, now);
    if (source && source.zone !== this.zone) totals.crossed += bytes;
    if (this.have.add(piece)) this.#onPiece(piece);
    else totals.wasted += bytes;
    for (const other of [...(this.flights.get(piece) ?? [])]) this.#abandon(other);
    if (source) source.dry = false;
    else seeder.onSent(transfer.startedAt, bytes);
    if (this.have.full) this.#finish();
    else {
      this.#ask();
      this.#askSeeder();
    }
    clock.after(scenario.haveMs + scenario.rttMs / 2, () => this.#tell(piece));
  }

  #onPiece(piece: number): void {
    const { pieceLength, size } = this.#swarm.scenario;
    if (piece * pieceLength !== this.#demand.position) return;
    this.#demand.position = Math.min(size, this.have.firstMissing(piece) * pieceLength);
    this.#demand.waitingSince = this.#swarm.clock.now;
  }

  #tell(piece: number): void {
    if (this.dead) return;
    this.#swarm.totals.haves += this.followers.length;
    this.offered.add(piece);
    const { window, depth } = this.#swarm.scenario;
    const [word, mask] = [piece >> 5, maskOf(piece)];
    for (const follower of this.followers) {
      follower.availability[piece]! += 1;
      if ((follower.haveWords[word]! & mask) !== 0) continue;
      follower.dry = false;
      if (follower.busy.length < depth && follower.owner.inFlight < window) follower.owner.onHave(follower);
    }
  }

  #finish(): void {
    const { clock, tracker, seeder, totals } = this.#swarm;
    this.finishedAt = clock.now;
    seeder.forget(this);
    totals.announces += 1;
    tracker.announce({ id: this.id, zone: this.zone, complete: true }, 0);
    for (const list of [...this.flights.values()]) for (const transfer of [...list]) this.#abandon(transfer);
    for (const source of [...this.sources]) this.#leave(source);
    this.#swarm.onFinished(this);
  }

  /** Looks again soon: lateness comes by time alone. */
  #tickLater(): void {
    if (this.#ticking || this.flights.size === 0) return;
    this.#ticking = true;
    const { clock } = this.#swarm;
    const ms = Math.max(TICK_MS, Math.round((this.#median.value ?? 0) / 200) * 50);
    clock.after(ms, () => {
      this.#ticking = false;
      if (this.done) return;
      const state = { now: clock.now, medianMs: this.#median.value };
      let late = false;
      for (const under of this.flights.values()) late ||= isLate(under, state);
      if (late || this.#urgent().length > 0) {
        for (const source of this.sources) source.dry = false;
        this.#askLate();
      } else this.#tickLater();
    });
  }

  /** A late piece may be asked for beyond the window. */
  #askLate(): void {
    const urgent = this.#urgent();
    for (const source of this.sources) {
      if (source.dry || source.busy.length >= this.#swarm.scenario.depth) continue;
      this.#askSource(source, urgent);
      if (this.inFlight >= this.#swarm.scenario.window + 2) break;
    }
    this.#askSeeder();
    this.#tickLater();
  }

  #rtt(peer: SimHost): number {
    const { rttMs, zoneRttMs } = this.#swarm.scenario;
    return peer.zone === this.zone ? rttMs : zoneRttMs;
  }
}

/** The bit of a piece in its word of `Bitfield.words`; its own inverse is `inPieceOrder`. */
function maskOf(piece: number): number {
  return inPieceOrder(0x80000000 >>> (piece & 31));
}
