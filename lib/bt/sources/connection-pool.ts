/**
 * Keep-alive connections to peers, shared by all blobs of a host.
 * @module
 */

import { type Connection, Connector, type PeerEndpoint, PeerError, type PeerRequest } from "./connection.ts";
import type { ResponseHead } from "./response-parser.ts";
import { Sweep } from "./sweep.ts";

interface Idle {
  readonly connection: Connection;
  /** The look after which it was kept. */
  readonly look: number;
}

/** So many looks, and an unused connection is closed. */
const LOOKS = 8;

/** See the module. */
export class ConnectionPool implements Disposable {
  readonly #connector: Connector;
  readonly #idle = new Map<string, Idle[]>();
  readonly #idleMs: number;
  readonly #perPeer: number;
  readonly #sweep = new Sweep(() => this.#closeUnused());
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
    const kept = this.#take(endpoint);
    if (kept) {
      let begun = false;
      const guarded: PeerRequest = {
        ...request,
        accept: (head) => {
          begun = true;
          return request.accept(head);
        },
      };
      try {
        return await this.#run(endpoint, kept, guarded);
      } catch (error) {
        if (begun || !(error instanceof PeerError) || error.code !== "closed") throw error;
      }
    }
    return this.#run(endpoint, await this.#connector.open(endpoint), request);
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#sweep.stop();
    for (const list of this.#idle.values()) {
      for (const { connection } of list) connection.close();
    }
    this.#idle.clear();
  }

  async #run(endpoint: PeerEndpoint, connection: Connection, request: PeerRequest): Promise<ResponseHead> {
    try {
      const head = await connection.request(request);
      this.#keep(endpoint, connection);
      return head;
    } catch (error) {
      // Also when the request was given up before it was sent.
      connection.close();
      throw error;
    }
  }

  #take(endpoint: PeerEndpoint): Connection | undefined {
    const list = this.#idle.get(keyOf(endpoint));
    for (let idle = list?.pop(); idle; idle = list?.pop()) {
      if (idle.connection.usable) return idle.connection;
    }
    return undefined;
  }

  #keep(endpoint: PeerEndpoint, connection: Connection): void {
    const key = keyOf(endpoint);
    const list = this.#idle.get(key) ?? [];
    if (this.#closed || !connection.usable || list.length >= this.#perPeer) {
      connection.close();
      return;
    }
    list.push({ connection, look: this.#look });
    this.#idle.set(key, list);
    this.#sweep.run(this.#idleMs / LOOKS);
  }

  #closeUnused(): boolean {
    this.#look++;
    for (const [key, list] of this.#idle) {
      // The longest unused come first.
      while (list[0] && (!list[0].connection.usable || this.#look - list[0].look >= LOOKS)) {
        list.shift()?.connection.close();
      }
      if (list.length === 0) this.#idle.delete(key);
    }
    return this.#idle.size > 0;
  }
}

function keyOf({ host, port, secure }: PeerEndpoint): string {
  return `${host} ${port}${secure ? " tls" : ""}`;
}
