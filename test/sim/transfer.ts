/**
 * A piece on its way from one host to another.
 * @module
 */
import type { Flight } from "../../lib/bt/picker.ts";
import type { SimHost } from "./sim-host.ts";
import type { Source } from "./source.ts";
import type { SimSwarm } from "./swarm.ts";

/** From the request until the last byte. */
export class Transfer implements Flight {
  readonly piece: number;
  readonly startedAt: number;
  readonly to: SimHost;
  /** Undefined: from the seeder. */
  readonly source: Source | undefined;
  readonly bytes: number;
  /** The flow; -1 while the request is under way. */
  flow = -1;
  over = false;
  readonly #swarm: SimSwarm;

  constructor(swarm: SimSwarm, init: { to: SimHost; piece: number; source: Source | undefined }) {
    this.#swarm = swarm;
    this.to = init.to;
    this.piece = init.piece;
    this.source = init.source;
    this.bytes = swarm.layout.length(init.piece);
    this.startedAt = swarm.clock.now;
  }

  get progress(): number {
    return this.flow < 0 ? 0 : this.#swarm.network.through(this.flow) / this.bytes;
  }
}
