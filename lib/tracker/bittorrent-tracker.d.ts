/** The parts of the untyped package `bittorrent-tracker` (11.x) that are used here. */
declare module "bittorrent-tracker/server" {
  export interface TrackerRequest {
    readonly url: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly connection: { readonly remoteAddress: string };
  }
  export interface TrackerResponse {
    end(body?: Uint8Array): void;
  }
  /** Query parameters as they came (a repeated one is a list), beside those the package has checked. */
  export interface TrackerParams {
    readonly [name: string]: unknown;
    readonly httpRes: TrackerResponse;
    /** Hex; a list in a scrape. */
    readonly info_hash?: string | string[];
    readonly peer_id?: string;
    readonly port?: number;
    readonly left?: number;
    readonly compact?: number;
    readonly event?: unknown;
    /** Of the request, for an announce; no query overrides them. */
    readonly headers?: Readonly<Record<string, string>>;
  }
  export type TrackerCallback = (error: Error | null) => void;
  export interface TrackerSwarm {
    announce(params: TrackerParams, callback: TrackerCallback): void;
  }
  export default class Server {
    constructor(options: { http: false; udp: false; ws: false; stats: false; interval?: number });
    onHttpRequest(request: TrackerRequest, response: TrackerResponse, options: { action: "announce" | "scrape" }): void;
    getSwarm(infoHash: string, callback: (error: Error | null, swarm?: TrackerSwarm) => void): void;
    _onScrape(params: TrackerParams, callback: TrackerCallback): void;
    close(callback?: () => void): void;
  }
}

declare module "bittorrent-tracker/client" {
  import type { EventEmitter } from "node:events";
  export default class Client extends EventEmitter {
    constructor(options: {
      infoHash: string | Uint8Array;
      peerId: string | Uint8Array;
      announce: string | string[];
      port: number;
      wrtc?: false;
    });
    start(options?: Record<string, unknown>): void;
    stop(options?: Record<string, unknown>): void;
    complete(options?: Record<string, unknown>): void;
    update(options?: Record<string, unknown>): void;
    scrape(options?: Record<string, unknown>): void;
    destroy(callback?: () => void): void;
  }
}
