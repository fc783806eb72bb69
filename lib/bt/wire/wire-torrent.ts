/**
 * One blob on the wire, from the first peer that asks for it or is asked until nobody uses it any more.
 * @module
 */
import type { Socket } from "node:net";
import type { Torrent, Wire } from "webtorrent";
import type { Handle } from "../../cache/index.ts";
import type { Logger } from "../../log/log.ts";
import type { RateLimiter } from "../limiter.ts";
import type { LiveBlob } from "../live-blob.ts";
import { encodeMetainfo } from "../metainfo.ts";
import type { Precedence } from "../precedence.ts";
import { authority } from "../sources/http-source.ts";
import { BlockServer } from "./block-server.ts";
import type { WireClient } from "./client.ts";
import type { WireBans, WirePeer } from "./wire-bans.ts";
import { WireSource } from "./wire-source.ts";

/** Peers of one blob that this host connects to at most. */
const MAX_OUTGOING = 12;
/** A connection that moved no byte for so long is closed, ms; a torrent without connections after as long too. */
const IDLE_MS = 120_000;
const LOOK_MS = 15_000;
/** No message of the wire is longer: a block of 128 KiB, or the bitfield of 4 million pieces. */
const MAX_MESSAGE = 640 * 1024;

export interface WireTorrentInit {
  readonly client: WireClient;
  /** Released when the torrent closes. */
  readonly handle: Handle<LiveBlob>;
  readonly limiter: RateLimiter;
  readonly precedence: Precedence;
  readonly bans: WireBans;
  readonly log: Logger;
  onBytes(bytes: number): void;
  /** A connection to a peer that may have pieces. */
  onSource(source: WireSource): void;
  /** A peer moved bytes. */
  onUse(): void;
  onClose(): void;
}

interface Link {
  readonly source: WireSource;
  movedAt: number;
}

/** See the module. */
export class WireTorrent {
  readonly #init: WireTorrentInit;
  readonly #torrent: Torrent;
  readonly #links = new Map<Wire, Link>();
  /** Peers that turned out to have nothing to ask of a host that has everything. */
  readonly #seeds = new Set<string>();
  readonly #unsubscribe: () => void;
  readonly #timer: ReturnType<typeof setInterval>;
  #usedAt = performance.now();
  #closed = false;

  private constructor(init: WireTorrentInit, torrent: Torrent) {
    this.#init = init;
    this.#torrent = torrent;
    const { blob } = init.handle;
    torrent.on("wire", (wire: Wire, address?: string) => this.#onWire(wire, address));
    torrent.once("close", () => this.close());
    this.#unsubscribe = blob.subscribe((change) => {
      if (change.type === "piece") this.#onPiece(change.piece);
      else if (change.type === "failed") this.close();
    });
    this.#timer = setInterval(() => this.#leaveIdle(), LOOK_MS);
    if (blob.error) this.close();
  }

  /** The blob's metainfo must be complete. Releases the handle when it fails. */
  static async open(init: WireTorrentInit): Promise<WireTorrent> {
    const { handle, client } = init;
    const { blob } = handle;
    try {
      const { layout, have } = blob;
      const { isPublic: _, ...metainfo } = blob.metainfo()!;
      const held = new Set<number>();
      const torrent = await client.open(encodeMetainfo(metainfo), {
        pieceLength: layout!.pieceLength,
        *held() {
          for (const piece of have!) {
            held.add(piece);
            yield piece;
          }
        },
      });
      // Pieces that came in between.
      for (const piece of have!) if (!held.has(piece)) torrent._markVerified(piece);
      return new WireTorrent(init, torrent);
    } catch (error) {
      handle.release();
      throw error;
    }
  }

  get blob(): LiveBlob {
    return this.#init.handle.blob;
  }
  get closed(): boolean {
    return this.#closed;
  }
  /** Sources for all its connections, those of a download that begins later. */
  *sources(): Generator<WireSource> {
    for (const [wire, { source }] of this.#links) if (!wire.destroyed) yield source;
  }

  /** Takes over a connection that another host opened. */
  accept(socket: Socket): void {
    this.#usedAt = performance.now();
    this.#init.client.accept(socket);
  }

  /** Connects to peers, as far as there is room; those that are connected already stay so. */
  connect(peers: readonly WirePeer[]): void {
    if (this.#closed) return;
    let room = MAX_OUTGOING - this.#links.size;
    for (const peer of peers) {
      if (room <= 0) return;
      const name = authority(peer);
      if (this.#seeds.has(name) && this.blob.have?.full) continue;
      if (this.#torrent.addPeer(name)) room -= 1;
    }
    this.#usedAt = performance.now();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    this.#unsubscribe();
    if (!this.#torrent.destroyed) this.#torrent.destroy();
    this.#init.handle.release();
    this.#init.onClose();
  }

  #onWire(wire: Wire, address?: string): void {
    const { bans, limiter, precedence, log, onBytes, onSource, onUse } = this.#init;
    const peer = { host: wire.remoteAddress ?? "", port: wire.remotePort ?? 0, peerId: wire.peerId };
    if (bans.has(peer)) {
      this.#leave(wire, address);
      return;
    }
    guard(wire, log);
    const layout = this.blob.layout!;
    const name = authority(peer);
    const used = () => {
      this.#usedAt = performance.now();
      const link = this.#links.get(wire);
      if (link) link.movedAt = this.#usedAt;
      onUse();
    };
    const source = new WireSource({
      wire,
      name,
      layout,
      onLiar: () => {
        bans.add(peer);
        this.#leave(wire, address);
      },
    });
    this.#links.set(wire, { source, movedAt: performance.now() });
    new BlockServer({
      wire,
      blob: this.blob,
      limiter,
      precedence,
      onBytes: (bytes) => {
        used();
        onBytes(bytes);
      },
    });
    wire.on("download", used);
    // WebTorrent's own look at the same message comes after this one.
    const look = () => queueMicrotask(() => this.#leaveSeed(wire, name));
    for (const event of ["bitfield", "have-all", "have"]) wire.on(event, look);
    wire.once("close", () => this.#links.delete(wire));
    setImmediate(() => this.#mend(wire));
    log.debug("a wire peer is here", { peer: name, direction: wire.type });
    onSource(source);
  }

  /**
   * WebTorrent takes a peer that has not told its pieces for a seed, and listens a moment too late for what came
   * together with the handshake: both would be choked, for ever or for 10 s.
   */
  #mend(wire: Wire): void {
    if (wire.destroyed || this.#isSeed(wire)) return;
    wire.isSeeder = false;
    if (wire.peerInterested && wire.amChoking) wire.unchoke();
  }

  #isSeed(wire: Wire): boolean {
    const { count } = this.blob.layout!;
    for (let piece = 0; piece < count; piece++) if (!wire.peerPieces.get(piece)) return false;
    return true;
  }

  #onPiece(piece: number): void {
    this.#torrent._markVerified(piece);
    for (const wire of this.#torrent.wires) wire.have(piece);
    if (!this.blob.have?.full) return;
    for (const [wire, { source }] of this.#links) {
      wire.uninterested();
      this.#leaveSeed(wire, source.name);
    }
  }

  /** Two that have everything have nothing to tell each other. */
  #leaveSeed(wire: Wire, name: string): void {
    if (wire.destroyed || !this.blob.have?.full || !this.#isSeed(wire)) return;
    if (this.#seeds.size < 1000) this.#seeds.add(name);
    this.#leave(wire, name);
  }

  /** For good: WebTorrent would connect again, for ever where handshakes succeed. */
  #leave(wire: Wire, address: string | undefined): void {
    const peer = address === undefined ? undefined : this.#torrent._peers.get(address);
    if (peer) peer.retries = Number.POSITIVE_INFINITY;
    wire.destroy();
  }

  #leaveIdle(): void {
    const now = performance.now();
    for (const [wire, { movedAt, source }] of this.#links) if (now - movedAt > IDLE_MS) this.#leave(wire, source.name);
    if (this.#links.size === 0 && now - this.#usedAt > IDLE_MS) this.close();
  }
}

/** Ends a wire whose messages are too long or which its parser trips over; both would end the whole process. */
function guard(wire: Wire, log: Logger): void {
  const write = wire._write;
  wire._write = (data, callback) => {
    try {
      if (wire._parserSize > MAX_MESSAGE) throw new Error(`a message of ${wire._parserSize} bytes`);
      write.call(wire, data, callback);
    } catch (error) {
      log.debug("a wire peer breaks the protocol", { peer: wire.remoteAddress, error });
      wire.destroy();
      callback(null);
    }
  };
}
