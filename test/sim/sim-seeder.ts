/**
 * The seeder: requests wait in line, the product's `chooseNext` says what goes out.
 * @module
 */
import { Bitfield } from "../../lib/bt/bitfield.ts";
import { RunningMedian } from "../../lib/bt/median.ts";
import { chooseNext } from "../../lib/bt/next-piece.ts";
import { ServedPieces } from "../../lib/bt/served-pieces.ts";
import type { SimHost } from "./sim-host.ts";
import type { SimSwarm } from "./swarm.ts";

// What `lib/bt/uploader.ts` does.
const PARK_MS = 10_000;
const MAX_MISSES = 64;

/** A request that waits. */
interface Wait {
  readonly host: SimHost;
  readonly asked: Bitfield;
  readonly want: number | undefined;
  readonly since: number;
  putOff: boolean;
}

/** See the module. */
export class SimSeeder {
  /** Its number in the network. */
  readonly line: number;
  readonly have: Bitfield;
  readonly served: ServedPieces;
  /** Bytes sent. */
  sent = 0;
  readonly #swarm: SimSwarm;
  readonly #median = new RunningMedian();
  readonly #waiting = new Set<Wait>();
  #busy = 0;
  #wakeAt = Number.POSITIVE_INFINITY;

  constructor(swarm: SimSwarm) {
    const { scenario, network, layout } = swarm;
    this.#swarm = swarm;
    this.line = network.addHost({ upRate: scenario.seederRate, downRate: scenario.originRate });
    this.have = new Bitfield(layout.count);
    this.served = new ServedPieces(layout.count);
    if (!scenario.cold) this.have.addAll();
  }

  /** Begins to read the origin; several ranges at once make no difference here, since they share one line. */
  start(): void {
    if (!this.#swarm.scenario.cold) return;
    const { clock, scenario, layout } = this.#swarm;
    const arrive = (piece: number) => {
      if (piece >= this.have.length) return;
      clock.at(clock.now + (layout.length(piece) / scenario.originRate) * 1000, () => {
        this.have.add(piece);
        this.#serve();
        arrive(piece + 1);
      });
    };
    arrive(0);
  }

  /** A request arrives. */
  ask(host: SimHost, asked: Bitfield, want: number | undefined): void {
    const { clock, scenario, totals } = this.#swarm;
    if (this.#waiting.size >= scenario.seederQueue) {
      totals.seederRefusals += 1;
      host.download.onSeederRefused();
      return;
    }
    this.served.heard(String(host.id), asked, clock.now);
    this.#waiting.add({ host, asked, want, since: clock.now, putOff: false });
    this.#serve();
  }

  /** A host vanished. */
  forget(host: SimHost): void {
    for (const wait of this.#waiting) if (wait.host === host) this.#waiting.delete(wait);
  }

  /** A piece was sent or broken off. */
  onSent(startedAt: number, bytes: number): void {
    this.sent += bytes;
    this.#median.add(this.#swarm.clock.now - startedAt);
    this.#busy -= 1;
    this.#serve();
  }

  #serve(): void {
    const { clock, scenario } = this.#swarm;
    const now = clock.now;
    let misses = 0;
    let soonest = Number.POSITIVE_INFINITY;
    for (const wait of this.#waiting) {
      if (wait.since + PARK_MS <= now) {
        this.#waiting.delete(wait);
        wait.host.download.onSeederNothing();
        continue;
      }
      soonest = Math.min(soonest, wait.since + PARK_MS);
      if (this.#busy >= scenario.seederSlots || misses >= MAX_MISSES) break;
      const choice = this.#choose(wait, now);
      if (choice.kind === "later") {
        wait.putOff = true;
        misses += 1;
        soonest = Math.min(soonest, choice.at ?? Number.POSITIVE_INFINITY);
        continue;
      }
      this.#waiting.delete(wait);
      if (choice.kind === "nothing" || (wait.putOff && this.served.times[choice.piece]! > 0)) {
        wait.host.download.onSeederNothing();
        continue;
      }
      this.served.note(choice.piece, now, String(wait.host.id));
      this.#busy += 1;
      wait.host.download.onSeederPiece(choice.piece);
    }
    this.#wake(soonest);
  }

  #choose({ host, asked: told, want, since }: Wait, now: number): ReturnType<typeof chooseNext> {
    let asked = told;
    const sent = this.served.sentSince(String(host.id), since);
    if (sent.length > 0) {
      asked = asked.clone();
      for (const piece of sent) asked.add(piece);
    }
    return chooseNext({
      have: this.have,
      asked,
      served: this.served.times,
      servedAt: this.served.at,
      repeatAfterMs: this.served.repeatAfterMs(this.#median.value),
      lostAfterMs: this.served.lostAfterMs(this.#median.value),
      mayBeLost: (piece) => this.served.mayBeLost(piece),
      now,
      want,
    });
  }

  #wake(at: number): void {
    if (at === Number.POSITIVE_INFINITY || (this.#wakeAt <= at && this.#wakeAt > this.#swarm.clock.now)) return;
    this.#wakeAt = at;
    this.#swarm.clock.at(at, () => {
      if (this.#wakeAt !== at) return;
      this.#wakeAt = Number.POSITIVE_INFINITY;
      this.#serve();
    });
  }
}
