/**
 * How long a host waits for others, at each step of a request (docs/design.md, "How long anything waits").
 * @module
 */

/** The part of the configuration that says so, in seconds. */
export interface TimeBoundsConfig {
  /** @default 5 */
  readonly firstByteTimeout?: number;
  /** @default 5 */
  readonly dialTimeout?: number;
  /** @default 30 */
  readonly headerTimeout?: number;
  readonly downloadTimeout: number;
}

/** Milliseconds. */
export interface TimeBounds {
  /** From an engine's request to the first byte of its answer. */
  readonly firstByteMs: number;
  /** For a connection, TLS included. */
  readonly dialMs: number;
  /** From a request to the head of its answer. */
  readonly headerMs: number;
  /** For the next byte. */
  readonly idleMs: number;
}

/** A bound, as `eagle_timeouts_total` names it. */
export type Bound = "first_byte" | "stall" | "dial" | "header" | "idle";

/** @returns The bounds of a configuration. */
export function timeBounds(config: TimeBoundsConfig): TimeBounds {
  const { firstByteTimeout = 5, dialTimeout = 5, headerTimeout = 30, downloadTimeout } = config;
  return {
    firstByteMs: firstByteTimeout * 1000,
    dialMs: dialTimeout * 1000,
    headerMs: headerTimeout * 1000,
    idleMs: downloadTimeout * 1000,
  };
}

/**
 * Who is silent for so long is asked again, or passed over: the next has the other half of the budget then.
 * @returns Milliseconds.
 */
export function impatientMs({ firstByteMs }: Pick<TimeBounds, "firstByteMs">): number {
  return firstByteMs / 2;
}
