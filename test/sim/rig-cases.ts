/**
 * The rig's cases as scenarios, so that what is simulated can be held against what is measured (`npm run bench:swarm`).
 * Loss, several blobs at once and peers that misbehave are not simulated.
 * @module
 */
import { cases, type SwarmCase } from "../bench/swarm/cases.ts";
import { payloadRate, type Scenario, scenario } from "./scenario.ts";

/** The names of the cases that can be simulated. */
export function rigCaseNames(): string[] {
  return cases.filter(isSimulated).map(({ name }) => name);
}

/** @throws RangeError for a name that is none of `rigCaseNames`. */
export function rigCase(name: string, changes: Partial<Scenario> = {}): Scenario {
  const found = cases.filter(isSimulated).find((other) => other.name === name);
  if (!found) throw new RangeError(`no case "${name}" is simulated; there are ${rigCaseNames().join(", ")}`);
  const { hosts, size, rate, cold, delayMs = 0, joinEveryMs = 0, slowRate, deaths } = found;
  // Namespaces on one bridge answer in a fraction of a millisecond.
  const rttMs = 0.3 + 2 * delayMs;
  return scenario({
    hosts,
    size,
    cold,
    joinEveryMs,
    rttMs,
    zoneRttMs: rttMs,
    rate: payloadRate(rate * 1e6),
    ...(slowRate !== undefined && { slowHosts: 1, slowFactor: slowRate / rate }),
    ...(deaths && { dying: deaths.count, dieSilently: deaths.how === "unplug" }),
    ...changes,
  });
}

function isSimulated(found: (typeof cases)[number]): found is SwarmCase {
  return found.kind === "swarm" && found.blobs === 1 && !found.loss && !found.misdeed;
}
