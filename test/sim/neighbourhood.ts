/**
 * The peers of a host: whom it follows and who follows it, as `chooseNeighbours` and `makeRoom` of the product say. What
 * is here is the wiring that `lib/bt/fetch.ts` and `lib/bt/peer-routes.ts` are in the product.
 * @module
 */
import { type Candidate, chooseNeighbours, makeRoom } from "../../lib/bt/neighbours.ts";
import type { SimHost } from "./sim-host.ts";
import { Source } from "./source.ts";
import { roundTrip, type SimSwarm } from "./swarm.ts";

/** How often the peers are looked at, ms. */
const REVIEW_MS = 1000;
/** A peer that refused or was left rests, ms. */
const REST_MS = 10_000;

/** See the module. */
export class Neighbourhood {
  /** Whom this host follows. */
  readonly sources: Source[] = [];
  /** Who follows it, as they see it. */
  readonly followers: Source[] = [];
  readonly #swarm: SimSwarm;
  readonly #host: SimHost;
  readonly #candidates = new Map<number, Candidate<number>>();
  readonly #resting = new Map<number, number>();

  constructor(swarm: SimSwarm, host: SimHost) {
    this.#swarm = swarm;
    this.#host = host;
  }

  start(): void {
    this.#announce();
    this.#reviewLater();
  }

  /** Leaves all. */
  stop(): void {
    for (const source of [...this.sources]) this.#leave(source);
    this.#candidates.clear();
    this.#resting.clear();
  }

  /** This host vanished: those who follow it see a reset, or nothing. */
  vanish(): void {
    const { network, totals } = this.#swarm;
    for (const follower of [...this.followers]) {
      for (const transfer of follower.busy) {
        if (transfer.flow >= 0) totals.wasted += network.cancel(transfer.flow);
        transfer.flow = -1;
      }
      this.#reset(follower);
    }
  }

  #reset(follower: Source): void {
    const { clock, scenario } = this.#swarm;
    if (!scenario.dieSilently) clock.after(scenario.rttMs, () => follower.owner.neighbourhood.#onGone(follower));
  }

  #announce(): void {
    if (this.#host.done) return;
    const { clock, scenario, tracker, totals } = this.#swarm;
    const { id, zone } = this.#host;
    totals.announces += 1;
    clock.after(scenario.zoneRttMs, () => {
      if (this.#host.done) return;
      for (const peer of tracker.announce({ id, zone, complete: false }, scenario.numwant)) this.#hearOf(peer);
      this.#review();
    });
    clock.after(scenario.announceMs, () => this.#announce());
  }

  #hearOf({ id, zone }: { id: number; zone: string }): void {
    if (!this.#follows(id)) this.#candidates.set(id, { key: id, zone });
  }

  #follows(id: number): boolean {
    return this.sources.some(({ key }) => key === id);
  }

  #reviewLater(): void {
    this.#swarm.clock.after(REVIEW_MS, () => {
      if (this.#host.done) return;
      this.#review();
      this.#reviewLater();
    });
  }

  /** Leaves and follows peers. */
  #review(): void {
    const { clock, scenario, hosts, random } = this.#swarm;
    const { now } = clock;
    const choice = chooseNeighbours({
      neighbours: this.sources,
      candidates: [...this.#candidates.values()].filter(({ key }) => (this.#resting.get(key) ?? 0) <= now),
      zone: this.#host.zone,
      degree: scenario.degree,
      seek: scenario.seek,
      medianMs: this.#host.download.median.value,
      now,
      random,
    });
    for (const key of choice.drop) {
      const source = this.sources.find((other) => other.key === key)!;
      this.#rest(key);
      this.#leave(source);
      this.#hearOf(source.peer);
    }
    for (const key of choice.add) this.#follow(hosts[key]!);
  }

  #rest(key: number): void {
    this.#resting.set(key, this.#swarm.clock.now + REST_MS);
  }

  #follow(peer: SimHost): void {
    const { clock, totals, scenario } = this.#swarm;
    const source = new Source(this.#host, peer, clock.now);
    this.#candidates.delete(peer.id);
    this.sources.push(source);
    totals.follows += 1;
    clock.after(roundTrip(scenario, this.#host.zone, peer.zone), () => peer.neighbourhood.#onFollower(source));
  }

  /** Another host wants to know this one's pieces. */
  #onFollower(source: Source): void {
    if (source.left) return;
    const { scenario, totals } = this.#swarm;
    if (this.#host.dead) {
      this.#reset(source);
      return;
    }
    if (!this.#host.downloading) {
      if (this.followers.length < scenario.followers) this.#accept(source);
      else this.#refuse(source);
      return;
    }
    const known = this.#follows(source.owner.id);
    if (!known && this.sources.length >= scenario.degree) {
      const leaving = makeRoom({ neighbours: this.sources, random: this.#swarm.random });
      if (leaving === undefined) {
        this.#refuse(source);
        return;
      }
      totals.displaced += 1;
      this.#displace(this.sources.find(({ key }) => key === leaving)!);
    }
    this.#accept(source);
    if (!known) this.#follow(source.owner);
  }

  /** Leaves a peer and tells it no more. */
  #displace(source: Source): void {
    const { clock, scenario } = this.#swarm;
    this.#rest(source.key);
    this.#leave(source);
    const place = this.followers.findIndex(({ owner }) => owner === source.peer);
    const [reverse] = place < 0 ? [] : this.followers.splice(place, 1);
    if (!reverse) return;
    const ms = roundTrip(scenario, this.#host.zone, source.zone);
    clock.after(ms, () => reverse.owner.neighbourhood.#onGone(reverse));
  }

  #refuse(source: Source): void {
    this.#swarm.totals.refusals += 1;
    source.owner.neighbourhood.#onGone(source);
  }

  #accept(source: Source): void {
    this.followers.push(source);
    source.following = true;
    source.owner.download.count(source, 1);
    source.owner.download.ask();
  }

  /** A peer refused, ended its list of pieces, or reset. */
  #onGone(source: Source): void {
    if (source.left) return;
    this.#rest(source.key);
    this.#leave(source);
    if (this.#host.done) return;
    this.#review();
    this.#host.download.ask();
  }

  #leave(source: Source): void {
    source.left = true;
    for (const transfer of [...source.busy]) this.#host.download.abandon(transfer);
    this.sources.splice(this.sources.indexOf(source), 1);
    const { followers } = source.peer.neighbourhood;
    const place = followers.indexOf(source);
    if (place >= 0) followers.splice(place, 1);
    if (source.following) this.#host.download.count(source, -1);
  }
}
