/**
 * A host of the swarm: when it comes and goes. What it does in between is its download's and its neighbourhood's.
 * @module
 */
import { Neighbourhood } from "./neighbourhood.ts";
import { SimDownload } from "./sim-download.ts";
import type { SimSwarm } from "./swarm.ts";
import type { Transfer } from "./transfer.ts";

/** See the module. Times are ms of virtual time. */
export class SimHost {
  readonly id: number;
  /** Its number in the network. */
  readonly line: number;
  readonly zone: string;
  readonly joinsAt: number;
  readonly download: SimDownload;
  readonly neighbourhood: Neighbourhood;
  finishedAt: number | undefined;
  dead = false;
  #joined = false;
  readonly #swarm: SimSwarm;

  constructor(
    swarm: SimSwarm,
    { id, line, zone, joinsAt }: { id: number; line: number; zone: string; joinsAt: number },
  ) {
    this.#swarm = swarm;
    this.id = id;
    this.line = line;
    this.zone = zone;
    this.joinsAt = joinsAt;
    this.download = new SimDownload(swarm, this);
    this.neighbourhood = new Neighbourhood(swarm, this);
  }

  /** It has all, or is no more. */
  get done(): boolean {
    return this.finishedAt !== undefined || this.dead;
  }

  get downloading(): boolean {
    return this.#joined && !this.done;
  }

  join(): void {
    this.#joined = true;
    this.neighbourhood.start();
    this.download.askSeeder();
  }

  /** A request for a piece arrives. */
  serve(transfer: Transfer): void {
    if (transfer.over || this.dead) return;
    transfer.flow = this.#swarm.network.start(this.line, transfer.to.line, transfer.bytes, transfer);
  }

  /** The last piece is here: from now on it only serves. */
  finish(): void {
    const { clock, tracker, totals } = this.#swarm;
    this.finishedAt = clock.now;
    totals.announces += 1;
    tracker.announce({ id: this.id, zone: this.zone, complete: true }, 0);
    this.download.stop();
    this.neighbourhood.stop();
    this.#swarm.onFinished(this);
  }

  /** The process is killed, or the machine loses power. */
  die(): void {
    this.dead = true;
    this.#swarm.tracker.leave(this.id);
    this.download.stop();
    this.neighbourhood.stop();
    this.neighbourhood.vanish();
  }
}
