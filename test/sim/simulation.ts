/**
 * Runs a scenario from the first host's join until all that live are done.
 * @module
 */
import { Layout } from "../../lib/bt/layout.ts";
import { Clock } from "./clock.ts";
import { Network } from "./network.ts";
import { seededRandom, shuffle } from "./random.ts";
import { boundMs, type Scenario } from "./scenario.ts";
import { SimHost } from "./sim-host.ts";
import { SimSeeder } from "./sim-seeder.ts";
import { SimTracker } from "./sim-tracker.ts";
import { noTotals, type SimSwarm, type Totals } from "./swarm.ts";
import type { Transfer } from "./transfer.ts";

/** A run that takes so many times the bound is given up. */
const MAX_RATIO = 20;

/** One host's run. */
export interface HostResult {
  readonly id: number;
  readonly slow: boolean;
  readonly died: boolean;
  /** From its join to its last piece, ms; undefined when it did not get there. */
  readonly ms: number | undefined;
}

/** What came out. */
export interface Result {
  readonly scenario: Scenario;
  readonly boundMs: number;
  readonly hosts: readonly HostResult[];
  readonly totals: Totals;
  /** Bytes the seeder sent. */
  readonly seederSent: number;
  readonly events: number;
}

/** @returns What came out; hosts that could not finish are in it without a time. */
export function simulate(scenario: Scenario): Result {
  const swarm = new Swarm(scenario);
  const bound = boundMs(scenario);
  const order = shuffle([...Array(scenario.hosts).keys()], swarm.random);
  const slow = new Set(order.slice(0, scenario.slowHosts));
  const dying = new Set(order.slice(scenario.slowHosts, scenario.slowHosts + scenario.dying));
  for (let id = 0; id < scenario.hosts; id++) {
    const host = swarm.addHost(id, scenario.rate * (slow.has(id) ? scenario.slowFactor : 1));
    if (dying.has(id)) swarm.clock.at(host.joinsAt + bound * scenario.dieAt, () => swarm.kill(host));
  }
  swarm.run(bound * MAX_RATIO + scenario.hosts * scenario.joinEveryMs);
  const hosts = swarm.hosts.map(({ id, dead, finishedAt, joinsAt }) => ({
    id,
    slow: slow.has(id),
    died: dead,
    ms: finishedAt === undefined ? undefined : finishedAt - joinsAt,
  }));
  const { totals, seeder, clock } = swarm;
  return { scenario, boundMs: bound, hosts, totals, seederSent: seeder.sent, events: clock.events };
}

/** All that takes part. */
class Swarm implements SimSwarm {
  readonly scenario: Scenario;
  readonly layout: Layout;
  readonly clock = new Clock();
  readonly random: () => number;
  readonly network: Network<Transfer>;
  readonly tracker: SimTracker;
  readonly totals = noTotals();
  readonly hosts: SimHost[] = [];
  readonly seeder: SimSeeder;
  readonly nearRequests: SimSwarm["nearRequests"];
  readonly farRequests: SimSwarm["farRequests"];
  readonly tellings: SimSwarm["tellings"];
  #unfinished = 0;

  constructor(scenario: Scenario) {
    this.scenario = scenario;
    this.layout = new Layout(scenario.size, scenario.pieceLength);
    this.random = seededRandom(scenario.seed);
    this.network = new Network<Transfer>(this.clock, {
      settleMs: settleMs(scenario),
      onDone: (transfer) => transfer.to.download.arrived(transfer),
    });
    const serve = (transfer: Transfer) => transfer.source!.peer.serve(transfer);
    this.nearRequests = this.clock.line(scenario.rttMs, serve);
    this.farRequests = this.clock.line(scenario.zoneRttMs, serve);
    this.tellings = this.clock.line(scenario.haveMs + scenario.rttMs / 2, (transfer: Transfer) => {
      if (!transfer.to.dead) transfer.to.download.tell(transfer.piece);
    });
    this.tracker = new SimTracker(this.random);
    this.seeder = new SimSeeder(this);
  }

  addHost(id: number, rate: number): SimHost {
    const { zones, joinEveryMs, startMs } = this.scenario;
    const host = new SimHost(this, {
      id,
      line: this.network.addHost({ upRate: rate, downRate: rate }),
      zone: zones > 1 ? `zone-${id % zones}` : "",
      joinsAt: joinEveryMs > 0 ? id * joinEveryMs : this.random() * startMs,
    });
    this.hosts.push(host);
    this.#unfinished += 1;
    this.clock.at(host.joinsAt, () => host.join());
    return host;
  }

  kill(host: SimHost): void {
    if (host.done) return;
    host.die();
    this.#unfinished -= 1;
  }

  onFinished(): void {
    this.#unfinished -= 1;
  }

  run(untilMs: number): void {
    this.seeder.start();
    this.clock.run(() => this.#unfinished === 0, untilMs);
  }
}

/** Shares follow after about a round trip; sooner is not worth the work where a piece takes much longer. */
function settleMs({ rttMs, pieceLength, rate }: Scenario): number {
  return Math.max(1.2 * rttMs, (0.05 * pieceLength * 1000) / rate);
}
