/**
 * @module
 * Which of several seeders a call goes to. Pure.
 */
import { createHash } from "node:crypto";
import { admits, admitsEarly, type EndpointState } from "./endpoint-state.ts";

/**
 * `round_robin`: evenly over those that live. `rendezvous`: the same seeder for the same key on every host, by highest random
 * weight, so that one seeder's death moves its own keys alone.
 */
export type Policy = "round_robin" | "rendezvous";

/**
 * Chooses.
 * @param candidates each seeder's name (the same on all hosts) and state
 * @param turn a number that grows by one with each choice; used by round_robin
 * @param key used by rendezvous
 * @param excluded indices not wanted
 * @param now ms, the clock of the states
 * @returns the index of a seeder that takes a call or a probe now; with none, of one that refuses at once; or undefined
 */
export function chooseEndpoint(
  candidates: readonly { readonly name: string; readonly state: EndpointState }[],
  {
    policy,
    turn,
    key,
    excluded,
    now,
  }: { policy: Policy; turn: number; key: string; excluded: ReadonlySet<number>; now: number },
): number | undefined {
  const indices = [...candidates.keys()].filter((index) => !excluded.has(index));
  let open = indices.filter((index) => admits(candidates[index]!.state, now) !== undefined);
  if (open.length === 0) open = indices.filter((index) => admitsEarly(candidates[index]!.state));
  if (policy === "round_robin") return open[turn % open.length];
  let best: number | undefined;
  let highest = "";
  for (const index of open) {
    const weight = rendezvousWeight(candidates[index]!.name, key);
    if (best === undefined || weight > highest) {
      best = index;
      highest = weight;
    }
  }
  return best;
}

/** The weight of a seeder for a key: 64 hex digits, compared as text. */
export function rendezvousWeight(name: string, key: string): string {
  return createHash("sha256").update(`${name}\n${key}`).digest("hex");
}
