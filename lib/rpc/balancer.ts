/**
 * @module
 * Keeps the state of all seeders and hands out leases on them. Knows time and chance only through what it is given; opens nothing.
 */
import { chooseEndpoint, type Policy } from "./choice.ts";
import {
  abandoned,
  admits,
  answered,
  type Backoff,
  beginProbe,
  type EndpointState,
  failed,
  initialState,
} from "./endpoint-state.ts";

/** The right to make one call to one seeder. Every lease must be told how the call went; telling twice is harmless. */
export interface Lease {
  /** Index of the seeder. */
  readonly endpoint: number;
  /** The seeder spoke. @returns true if that ended an outage */
  answered(): boolean;
  /**
   * No answer, or none that is any use; also after `answered`. `disconnected`: the connection broke, or could not be made.
   * @returns true if that began or prolonged an outage
   */
  failed(how?: { disconnected?: boolean }): boolean;
  /** The caller gave up. */
  abandoned(): void;
}

/** Who cannot be connected to in this time, ms, keeps nobody waiting: it refuses. */
const AT_ONCE_MS = 500;

/** Options of {@link Balancer}. */
export interface BalancerOptions {
  /** One name a seeder, the same on all hosts. */
  names: readonly string[];
  policy?: Policy;
  backoff?: Backoff;
  /** Monotonic clock, ms. */
  now?: () => number;
  /** In [0, 1). */
  random?: () => number;
}

/** Chooses seeders, counts outages. See {@link chooseEndpoint} and endpoint-state.ts for the rules. */
export class Balancer {
  readonly #names: readonly string[];
  readonly #states: EndpointState[];
  readonly #policy: Policy;
  readonly #backoff: Backoff;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #waiting = new Set<() => void>();
  #turn: number;

  constructor({
    names,
    policy = "round_robin",
    backoff = { baseMs: 500, maxMs: 30_000, jitter: 0.2 },
    now = () => performance.now(),
    random = Math.random,
  }: BalancerOptions) {
    this.#names = names;
    this.#states = names.map(() => initialState);
    this.#policy = policy;
    this.#backoff = backoff;
    this.#now = now;
    this.#random = random;
    // Hosts started together must not all begin with the same seeder.
    this.#turn = Math.floor(random() * names.length);
  }

  /** True while some seeder takes calls, or its probe is due or under way. */
  get healthy(): boolean {
    const now = this.#now();
    return this.#states.some((state) => state.t === "probing" || admits(state, now) !== undefined);
  }

  /** The state of each seeder, in the order of the names. */
  get states(): readonly EndpointState[] {
    return this.#states;
  }

  /** A lease on a seeder outside `excluded` that takes calls now; undefined if there is none. */
  choose({ key, excluded }: { key: string; excluded: ReadonlySet<number> }): Lease | undefined {
    const now = this.#now();
    const candidates = this.#names.map((name, index) => ({ name, state: this.#states[index]! }));
    const endpoint = chooseEndpoint(candidates, { policy: this.#policy, turn: this.#turn++, key, excluded, now });
    if (endpoint === undefined) return undefined;
    const state = beginProbe(this.#states[endpoint]!);
    this.#states[endpoint] = state;
    return this.#lease(endpoint, state.generation);
  }

  /**
   * Waits for the end of some probe of a seeder outside `excluded`.
   * @returns false at once if none is under way. A probe ends at the latest with its call's deadline.
   * @throws the signal's reason
   */
  async probed(excluded: ReadonlySet<number>, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    if (!this.#states.some((state, index) => state.t === "probing" && !excluded.has(index))) return false;
    await new Promise<void>((resolve, reject) => {
      const settle = () => {
        this.#waiting.delete(settle);
        signal.removeEventListener("abort", stop);
        resolve();
      };
      const stop = () => {
        this.#waiting.delete(settle);
        reject(signal.reason);
      };
      this.#waiting.add(settle);
      signal.addEventListener("abort", stop, { once: true });
    });
    return true;
  }

  #lease(endpoint: number, begun: number): Lease {
    let generation = begun;
    const begunAt = this.#now();
    let spoke = false;
    const move = (to: EndpointState): boolean => {
      const from = this.#states[endpoint]!;
      if (to === from) return false;
      this.#states[endpoint] = to;
      if (from.t === "probing") for (const wake of [...this.#waiting]) wake();
      return true;
    };
    return {
      endpoint,
      answered: () => {
        spoke = true;
        const ended = move(answered(this.#states[endpoint]!, generation));
        // The probe goes on as an ordinary call: should it break later, that is a new outage.
        if (ended) generation += 1;
        return ended;
      },
      failed: ({ disconnected = false } = {}) => {
        const now = this.#now();
        const refused = disconnected && (spoke || now - begunAt < AT_ONCE_MS);
        const before = this.#states[endpoint]!;
        const after = failed(before, generation, { now, random: this.#random(), backoff: this.#backoff, refused });
        move(after);
        return outagesOf(after) !== outagesOf(before);
      },
      abandoned: () => {
        move(abandoned(this.#states[endpoint]!, generation));
      },
    };
  }
}

function outagesOf(state: EndpointState): number {
  return state.t === "up" ? 0 : state.outages;
}
