/**
 * Keep-alive connections to peers, shared by all blobs of a host.
 * @module
 */

import { isOutOfDescriptors } from "../../http/client-error.ts";
import { sleep } from "../sleep.ts";
import {
  type Connection,
  Connector,
  type PeerEndpoint,
  PeerError,
  type PeerRequest,
  type StreamRequest,
} from "./connection.ts";
import type { ResponseHead } from "./response-parser.ts";
import { Sweep } from "./sweep.ts";

interface Idle {
  readonly connection: Connection;
  /** The look after which it was kept. */
  readonly look: number;
}

/** Between two looks for a free file descriptor, ms. */
const DESCRIPTOR_WAIT_MS = 50;
/** So many looks, and an unused connection is closed. */
const LOOKS = 8;

/** See the module. */
export class ConnectionPool implements Disposable {
  readonly #connector: Connector;
  readonly #idle = new Map<string, Idle[]>();
  readonly #idleMs: number;
  readonly #perPeer: number;
  readonly #sweep = new Sweep(() => this.#closeUnused());
  readonly #streams = new Set<Connection>();
  #look = 0;
  #closed = false;

  /**
   * @param init.idleMs Unused connections close after this; shorter than the servers' own limit.
   * @param init.perPeer Unused connections kept for each peer.
   */
  constructor({
    connector = new Connector(),
    idleMs = 20_000,
    perPeer = 4,
  }: { connector?: Connector; idleMs?: number; perPeer?: number } = {}) {
    this.#connector = connector;
    this.#idleMs = idleMs;
    this.#perPeer = perPeer;
  }

  /** See `Connector`. */
  get distanceMs(): number | undefined {
    return this.#connector.distanceMs;
  }

  /**
   * Sends a request on a free connection, or a new one. A kept connection that the peer closed meanwhile is replaced once.
   * @throws PeerError
   */
  async request(endpoint: PeerEndpoint, request: PeerRequest): Promise<ResponseHead> {
    if (this.#closed) throw new PeerError("closed", "the pool is closed");
    const key = keyOf(endpoint);
    const kept = this.#take(key);
    if (kept) {
      try {
        return await this.#run(key, kept, request);
      } catch (error) {
        if (kept.answered || !(error instanceof PeerError) || error.code !== "closed") throw error;
      }
    }
    const { headMs = request.idleMs, signal } = request;
    return this.#run(key, await this.#openPatiently(endpoint, { left: countdown(headMs), signal }), request);
  }

  /**
   * Sends a request whose answer is read as it comes, on a connection of its own: it lives as long as the answer.
   * Resolves when the answer has come whole; the pool's end is an error. The time to the head counts from here.
   * @throws PeerError
   */
  async stream(endpoint: PeerEndpoint, request: StreamRequest): Promise<ResponseHead> {
    const { headMs = request.idleMs, signal } = request;
    const left = countdown(headMs);
    const connection = await this.#openPatiently(endpoint, { left, signal });
    this.#streams.add(connection);
    try {
      if (this.#closed) throw new PeerError("closed", "the pool is closed");
      return await connection.stream(request, { headMs: left() });
    } finally {
      this.#streams.delete(connection);
      connection.close();
    }
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#dropIdle();
    for (const connection of this.#streams) connection.close();
  }

  /** Where this process may open nothing more, waits until it may: that says nothing about the peer. */
  async #openPatiently(
    endpoint: PeerEndpoint,
    { left, signal }: { left: () => number; signal: AbortSignal | undefined },
  ): Promise<Connection> {
    for (;;) {
      try {
        return await this.#connector.open(endpoint, { withinMs: left(), signal });
      } catch (error) {
        if (!isOutOfDescriptors(error) || left() <= DESCRIPTOR_WAIT_MS) throw error;
        this.#dropIdle();
        await sleep(DESCRIPTOR_WAIT_MS, signal);
      }
    }
  }

  #dropIdle(): void {
    this.#sweep.stop();
    for (const list of this.#idle.values()) {
      for (const { connection } of list) connection.close();
    }
    this.#idle.clear();
  }

  async #run(key: string, connection: Connection, request: PeerRequest): Promise<ResponseHead> {
    try {
      const head = await connection.request(request);
      this.#keep(key, connection);
      return head;
    } catch (error) {
      // Also when the request was given up before it was sent.
      connection.close();
      throw error;
    }
  }

  #take(key: string): Connection | undefined {
    const list = this.#idle.get(key);
    for (let idle = list?.pop(); idle; idle = list?.pop()) {
      if (idle.connection.usable) return idle.connection;
    }
    return undefined;
  }

  #keep(key: string, connection: Connection): void {
    const list = this.#idle.get(key) ?? [];
    if (this.#closed || !connection.usable || list.length >= this.#perPeer) {
      connection.close();
      return;
    }
    list.push({ connection, look: this.#look });
    this.#idle.set(key, list);
    this.#sweep.run(this.#idleMs / LOOKS);
  }

  #closeUnused(): number | undefined {
    this.#look++;
    for (const [key, list] of this.#idle) {
      // The longest unused come first.
      while (list[0] && (!list[0].connection.usable || this.#look - list[0].look >= LOOKS)) {
        list.shift()?.connection.close();
      }
      if (list.length === 0) this.#idle.delete(key);
    }
    return this.#idle.size > 0 ? this.#idleMs / LOOKS : undefined;
  }
}

function keyOf({ host, port, secure }: PeerEndpoint): string {
  return `${host} ${port}${secure ? " tls" : ""}`;
}

/** @returns How many of so many ms are left; at least one. */
function countdown(ms: number): () => number {
  const startedAt = performance.now();
  return () => Math.max(1, ms - (performance.now() - startedAt));
}
