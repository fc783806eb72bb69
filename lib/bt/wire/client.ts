/**
 * WebTorrent, as far as Eagle uses it: connections, handshakes, extensions, choking. It listens nowhere, finds nobody,
 * chooses no pieces, keeps no bytes: port, trackers, picker and files are Eagle's own.
 * @module
 */
import type { Socket } from "node:net";
import type WebTorrent from "webtorrent";
import type { ChunkStore, Torrent } from "webtorrent";

/** Connections of one torrent at most. */
const MAX_CONNECTIONS = 40;
/** Peers of one torrent that are unchoked at the same time. */
const UPLOADS = 20;

export interface WireClientInit {
  /** 20 bytes. */
  readonly peerId: Uint8Array;
  /** Where this host's wire listens. */
  readonly port: number;
  /** It failed as a whole and is gone. */
  onError(error: Error): void;
}

/** See the module. Loaded when it is made first: an idle host pays nothing for it. */
export class WireClient {
  readonly #client: WebTorrent;

  private constructor(client: WebTorrent) {
    this.#client = client;
  }

  static async load({ peerId, port, onError }: WireClientInit): Promise<WireClient> {
    const { default: Client } = await import("webtorrent");
    const client = new Client({
      peerId,
      // It must listen to begin; the port is closed at once, `accept` is the only way in.
      torrentPort: { host: "127.0.0.1", port: 0 },
      dht: false,
      tracker: false,
      lsd: false,
      utPex: false,
      natUpnp: false,
      natPmp: false,
      utp: false,
      webSeeds: false,
      // No encrypted handshakes: RC4 in JavaScript hides nothing and costs more than all the rest.
      secure: 0,
      maxConns: MAX_CONNECTIONS,
    });
    await new Promise<void>((resolve, reject) => {
      client.once("listening", () => resolve());
      client.once("error", reject);
    });
    client.removeAllListeners("error");
    client.on("error", onError);
    client._connPool.tcpServer.close();
    client.torrentPort = port;
    return new WireClient(client);
  }

  /**
   * Opens a torrent.
   * @param metainfo Bencoded.
   * @param options.held Pieces that are here; believed, not hashed again.
   * @returns The torrent when it takes connections. Its errors end it; the caller listens for "close".
   */
  async open(
    metainfo: Uint8Array,
    { pieceLength, held }: { pieceLength: number; held(): Iterable<number> },
  ): Promise<Torrent> {
    const torrent = this.#client.add(metainfo, {
      preloadedStore: noStore(pieceLength),
      storeCacheSlots: 0,
      deselect: true,
      uploads: UPLOADS,
    });
    torrent._verifyPieces = (callback) => {
      for (const piece of held()) torrent._markVerified(piece);
      callback(null);
    };
    await new Promise<void>((resolve, reject) => {
      const failed = (error?: Error) => reject(error ?? new Error("the torrent was closed before it was ready"));
      torrent.once("error", failed);
      torrent.once("close", failed);
      torrent.once("ready", () => {
        torrent.off("error", failed);
        torrent.off("close", failed);
        torrent.on("error", () => {});
        resolve();
      });
    });
    return torrent;
  }

  /** Takes over a connection that another host opened. A torrent of its info hash must be open. */
  accept(socket: Socket): void {
    this.#client._connPool._onConnection(socket, "tcp");
  }

  async close(): Promise<void> {
    if (this.#client.destroyed) return;
    await new Promise<void>((resolve) => this.#client.destroy(() => resolve()));
  }
}

/**
 * WebTorrent reads and writes no piece itself: requests are answered by `BlockServer`, pieces are fetched by
 * `WireSource`. A request that comes here is answered there.
 */
function noStore(chunkLength: number): ChunkStore {
  return {
    chunkLength,
    get() {},
    put: (_index, _chunk, callback) => callback(new Error("pieces are not stored this way")),
    close: (callback) => callback(null),
    destroy: (callback) => callback(null),
  };
}
