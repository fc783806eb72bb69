/**
 * @module
 * The circuit breaker of one seeder, as pure functions over immutable states.
 *
 * Every state has a generation; a call remembers the one it began in. What a call reports counts only if the seeder is still in that
 * generation, so a thousand calls that fail together are one outage, and a late answer from before an outage does not end it.
 */

/** Where a seeder stands. Times in ms of the caller's monotonic clock. */
export type EndpointState =
  /** Takes calls. Also the first state: a seeder is believed in until it fails. */
  | { readonly t: "up"; readonly generation: number }
  /** Takes no call before its time, but for an early probe; then one, as a probe. */
  | (Outage & { readonly t: "down" })
  /** One call is finding out; no other is let through (half open). */
  | (Outage & { readonly t: "probing" });

interface Outage {
  readonly generation: number;
  /** How often it failed running, early probes not counted. */
  readonly outages: number;
  /** When the next probe is due. */
  readonly retryAt: number;
  /** It failed at once the last time, and would again: asking costs next to nothing. */
  readonly refuses: boolean;
}

/** How a call failed. Times as in {@link EndpointState}; `random` in [0, 1). */
export interface Failure {
  readonly now: number;
  readonly random: number;
  readonly backoff: Backoff;
  /** At once: nobody was kept waiting. */
  readonly refused: boolean;
}

/** How long a seeder is left alone: `baseMs`, doubled with every failed probe up to `maxMs`, less up to `jitter` of it at random. */
export interface Backoff {
  baseMs: number;
  maxMs: number;
  /** 0..1: spreads hosts that lost the same seeder together. */
  jitter: number;
}

/** The first state. */
export const initialState: EndpointState = { t: "up", generation: 0 };

/** What a seeder may be asked for now. */
export function admits(state: EndpointState, now: number): "call" | "probe" | undefined {
  if (state.t === "up") return "call";
  return state.t === "down" && now >= state.retryAt ? "probe" : undefined;
}

/** Whether a probe may be made before its time, where no other seeder takes calls: it may have been started meanwhile. */
export function admitsEarly(state: EndpointState): boolean {
  return state.t === "down" && state.refuses;
}

/** A down seeder gets its probe. Other states stay. */
export function beginProbe(state: EndpointState): EndpointState {
  if (state.t !== "down") return state;
  return { ...state, t: "probing", generation: state.generation + 1 };
}

/** A call begun in `generation` was answered: a probe's answer ends the outage. */
export function answered(state: EndpointState, generation: number): EndpointState {
  if (state.generation !== generation || state.t !== "probing") return state;
  return { t: "up", generation: generation + 1 };
}

/** A call begun in `generation` got no answer. An early probe that is refused leaves the time of the next as it is. */
export function failed(state: EndpointState, generation: number, failure: Failure): EndpointState {
  if (state.generation !== generation || state.t === "down") return state;
  const { now, random, backoff, refused: refuses } = failure;
  if (state.t === "probing" && refuses && now < state.retryAt) return abandoned(state, generation);
  const outages = state.t === "probing" ? state.outages + 1 : 1;
  const wait = Math.min(backoff.maxMs, backoff.baseMs * 2 ** (outages - 1)) * (1 - backoff.jitter * random);
  return { t: "down", generation: generation + 1, outages, retryAt: now + wait, refuses };
}

/** A call begun in `generation` was given up by its caller and says nothing of the seeder: a probe may be made anew at once. */
export function abandoned(state: EndpointState, generation: number): EndpointState {
  if (state.generation !== generation || state.t !== "probing") return state;
  return { ...state, t: "down", generation: generation + 1 };
}
