/**
 * @module Tells trackers which blobs this host holds: one batched request a host, not one announce a blob.
 *
 * What is held is one set. Each tracker has its own sequence numbers and its own set of digests that changed since it
 * was last told. A tracker that is dead, or that forgot (it answers `resync`), simply gets the whole set again, so
 * nothing ever queues up for it.
 */
import { HttpClient } from "../http/client.ts";
import { type Logger, silentLogger } from "../log/log.ts";
import { TrackerError } from "./errors.ts";
import type { TrackerHttp } from "./exchange.ts";
import { HoldingsReporter, type ReporterIdentity } from "./holdings-reporter.ts";
import { KEY_BYTES } from "./keys.ts";

/** How a {@link Heartbeat} is made. */
export interface HeartbeatInit {
  /** Every tracker of every tier is told. */
  readonly trackers: readonly (readonly URL[])[];
  /** 20 bytes. */
  readonly peerId: Uint8Array;
  /** The peer HTTP port of this host. */
  readonly port: number;
  /**
   * Where this host is reached, if not at the address it asks from. Trackers believe it of parts of their cluster, and a
   * loopback address when the request comes from loopback.
   */
  readonly host?: string;
  readonly zone?: string;
  /** How long trackers may believe this without hearing again, ms; trackers bound it to 5..300 s. @default 60000 */
  readonly leaseMs?: number;
  /** Between two heartbeats when nothing changes, ms, give or take a tenth. @default 20000 */
  readonly intervalMs?: number;
  /** For one request, ms. @default 3000 */
  readonly timeoutMs?: number;
  /** Not closed by the heartbeat. @default one of its own */
  readonly http?: TrackerHttp;
  readonly log?: Logger;
  /** Jitter, 0..1. @default Math.random */
  readonly random?: () => number;
}

/** `stop` waits this long for the trackers to hear it. */
const STOP_MS = 2000;

/** The holdings of one host, kept up to date at all trackers from {@link start} to {@link stop}. */
export class Heartbeat {
  readonly #held = new Set<string>();
  readonly #reporters: readonly HoldingsReporter[];
  readonly #ownHttp: TrackerHttp | undefined;

  constructor({
    trackers,
    peerId,
    port,
    host,
    zone,
    leaseMs = 60_000,
    intervalMs = 20_000,
    timeoutMs = 3_000,
    http,
    log = silentLogger,
    random = Math.random,
  }: HeartbeatInit) {
    if (peerId.length !== KEY_BYTES) throw new TrackerError("invalid", "a peer id has 20 bytes");
    this.#ownHttp = http === undefined ? new HttpClient() : undefined;
    const identity: ReporterIdentity = {
      peer: Buffer.from(peerId).toString("hex"),
      port,
      // Not for secrecy: two processes of one host must never share an epoch.
      epoch: globalThis.crypto.randomUUID(),
      lease: Math.ceil(leaseMs / 1000),
      ...(host === undefined ? {} : { host }),
      ...(zone === undefined || zone === "" ? {} : { zone }),
    };
    this.#reporters = trackers.flat().map(
      (tracker) =>
        new HoldingsReporter({
          tracker,
          identity,
          held: this.#held,
          http: http ?? this.#ownHttp!,
          intervalMs,
          timeoutMs,
          log,
          random,
        }),
    );
  }

  /** This host holds the whole blob. Trackers hear it within about 200 ms; before `start`, with the first heartbeat. */
  add(digest: string): void {
    if (this.#held.has(digest)) return;
    this.#held.add(digest);
    for (const reporter of this.#reporters) reporter.changed(digest);
  }

  /** This host holds the blob no more. */
  remove(digest: string): void {
    if (!this.#held.delete(digest)) return;
    for (const reporter of this.#reporters) reporter.changed(digest);
  }

  /** Begins to tell the trackers. Waits for none of them. */
  start(): void {
    for (const reporter of this.#reporters) reporter.start();
  }

  /** Tells the trackers that this host stops serving; takes at most 2 s, and never fails. */
  async stop(): Promise<void> {
    await Promise.all(this.#reporters.map((reporter) => reporter.stop(STOP_MS)));
    await this.#ownHttp?.close();
  }
}
