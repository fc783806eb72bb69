/**
 * Runs a scenario from the first host's join until all that live are done.
 * @module
 */
import { Clock } from "./clock.ts";
import { Network } from "./network.ts";
import { seededRandom, shuffle } from "./random.ts";
import { boundMs, type Scenario } from "./scenario.ts";
import { SimHost } from "./sim-host.ts";
import { SimSeeder } from "./sim-seeder.ts";
import { SimTracker } from "./sim-tracker.ts";
import type { SimSwarm, Totals } from "./swarm.ts";

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

/** Shares follow after about a round trip; sooner is not worth the work where a piece takes much longer. */
function settleMs({ rttMs, pieceLength, rate }: Scenario): number {
  return Math.max(1.2 * rttMs, (0.05 * pieceLength * 1000) / rate);
}

/** @returns What came out; hosts that could not finish are in it without a time. */
export function simulate(scenario: Scenario): Result {
  const random = seededRandom(scenario.seed);
  const clock = new Clock(() => network);
  const network = new Network(clock, { settleMs: settleMs(scenario) });
  const hosts: SimHost[] = [];
  const totals: Totals = {
    wasted: 0,
    crossed: 0,
    pieceRequests: 0,
    seederRequests: 0,
    seederRefusals: 0,
    announces: 0,
    follows: 0,
    followRefusals: 0,
    displaced: 0,
    haves: 0,
  };
  let open = scenario.hosts;
  const bound = boundMs(scenario);
  const swarm = {
    scenario,
    clock,
    network,
    hosts,
    tracker: new SimTracker(random),
    totals,
    random,
    onFinished: () => {
      open -= 1;
    },
  } as unknown as SimSwarm & { seeder: SimSeeder };
  const order = shuffle(
    Array.from({ length: scenario.hosts }, (_, id) => id),
    random,
  );
  const slow = new Set(order.slice(0, scenario.slowHosts));
  const dying = new Set(order.slice(scenario.slowHosts, scenario.slowHosts + scenario.dying));
  for (let id = 0; id < scenario.hosts; id++) {
    const rate = scenario.rate * (slow.has(id) ? scenario.slowFactor : 1);
    network.addHost({ upRate: rate, downRate: rate });
    const zone = scenario.zones > 1 ? `zone-${id % scenario.zones}` : "";
    const joinsAt = scenario.joinEveryMs > 0 ? id * scenario.joinEveryMs : random() * scenario.startMs;
    const host = new SimHost(swarm, { id, zone, joinsAt });
    hosts.push(host);
    clock.at(joinsAt, () => host.join());
    if (dying.has(id)) {
      clock.at(joinsAt + bound * scenario.dieAt, () => {
        if (host.done) return;
        host.die();
        open -= 1;
      });
    }
  }
  swarm.seeder = new SimSeeder(swarm);
  swarm.seeder.start();
  clock.run(() => open === 0, bound * MAX_RATIO + scenario.hosts * scenario.joinEveryMs);
  return {
    scenario,
    boundMs: bound,
    hosts: hosts.map(({ id, dead, finishedAt, joinsAt }) => ({
      id,
      slow: slow.has(id),
      died: dead,
      ms: finishedAt === undefined ? undefined : finishedAt - joinsAt,
    })),
    totals,
    seederSent: swarm.seeder.sent,
    events: clock.events,
  };
}
