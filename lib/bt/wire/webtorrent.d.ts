/**
 * The parts of the untyped package `webtorrent` that are used here. Members with an underscore are its private ones:
 * the version is fixed in package.json, and `client.test.ts` fails when a new version moves them.
 */
declare module "webtorrent" {
  import type { EventEmitter } from "node:events";
  import type { Server, Socket } from "node:net";
  import type { Duplex } from "node:stream";

  export interface WireRequest {
    readonly piece: number;
    readonly offset: number;
    readonly length: number;
  }

  /** One connection after its handshake: `bittorrent-protocol`. A stream of streamx. */
  export interface Wire extends EventEmitter {
    /** 40 hex digits. */
    readonly peerId: string;
    readonly type: string;
    readonly destroyed: boolean;
    readonly remoteAddress?: string;
    readonly remotePort?: number;
    readonly amChoking: boolean;
    readonly peerChoking: boolean;
    readonly peerInterested: boolean;
    readonly hasFast: boolean;
    isSeeder?: boolean;
    readonly requests: readonly WireRequest[];
    readonly peerRequests: readonly WireRequest[];
    readonly peerPieces: { get(index: number): boolean };
    readonly peerExtendedHandshake: { readonly reqq?: unknown };
    readonly extendedHandshake: Record<string, unknown>;
    request(
      index: number,
      offset: number,
      length: number,
      callback: (error: Error | null, block?: Uint8Array) => void,
    ): void;
    cancel(index: number, offset: number, length: number): void;
    have(index: number): void;
    uninterested(): void;
    unchoke(): void;
    destroy(): void;
    /** Bytes that the next message needs. */
    readonly _parserSize: number;
    _write(data: Uint8Array, callback: (error: Error | null) => void): void;
    /** Bytes that the next stage has not taken yet. */
    readonly _readableState: { readonly buffered: number };
  }

  /** One blob. */
  export interface Torrent extends EventEmitter {
    readonly infoHash: string;
    readonly ready: boolean;
    readonly destroyed: boolean;
    readonly wires: readonly Wire[];
    /** @param peer `host:port`, IPv6 in brackets */
    addPeer(peer: string): boolean;
    destroy(callback?: (error: Error | null) => void): void;
    /** Looks which pieces are in the store. */
    _verifyPieces: (callback: (error: Error | null) => void) => void;
    _markVerified(index: number): void;
    /** By address. One that fails is tried again as often as `retries` is below 3. */
    readonly _peers: ReadonlyMap<string, { retries: number }>;
  }

  export interface ChunkStore {
    readonly chunkLength: number;
    get(index: number, options: unknown, callback: (error: Error | null, chunk?: Uint8Array) => void): void;
    put(index: number, chunk: Uint8Array, callback: (error: Error | null) => void): void;
    close(callback: (error: Error | null) => void): void;
    destroy(callback: (error: Error | null) => void): void;
  }

  export interface TorrentOptions {
    readonly preloadedStore: ChunkStore;
    readonly storeCacheSlots: 0;
    readonly deselect: boolean;
    readonly uploads: number;
  }

  export interface ClientOptions {
    readonly peerId: Uint8Array;
    readonly torrentPort: number | { readonly host: string; readonly port: number };
    readonly dht: false;
    readonly tracker: false;
    readonly lsd: false;
    readonly utPex: false;
    readonly natUpnp: false;
    readonly natPmp: false;
    readonly utp: false;
    readonly webSeeds: false;
    readonly secure: 0;
    readonly maxConns: number;
  }

  export default class WebTorrent extends EventEmitter {
    constructor(options: ClientOptions);
    readonly destroyed: boolean;
    readonly torrents: readonly Torrent[];
    torrentPort: number;
    add(metainfo: Uint8Array, options: TorrentOptions): Torrent;
    destroy(callback?: (error: Error | null) => void): void;
    readonly _connPool: { readonly tcpServer: Server; _onConnection(socket: Socket | Duplex, type: "tcp"): void };
  }
}
