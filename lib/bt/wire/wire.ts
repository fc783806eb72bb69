/**
 * The standard BitTorrent wire of one host: its port, the blobs that may be had there, the swarms it is announced in,
 * and the torrents in use. WebTorrent is loaded when the first peer comes or is needed, not before; a blob that nobody
 * asks for by wire is an entry in a map (docs/design.md, "The wire").
 * @module
 */
import type { Socket } from "node:net";
import type { Handle } from "../../cache/index.ts";
import type { Logger } from "../../log/log.ts";
import type { Metrics } from "../../metrics/metrics.ts";
import { type Digest, parseDigest } from "../../registry/digest.ts";
import { TrackerClient } from "../../tracker/client.ts";
import type { TrackerHttp } from "../../tracker/exchange.ts";
import type { Download } from "../download.ts";
import type { RateLimiter } from "../limiter.ts";
import type { LiveBlob } from "../live-blob.ts";
import type { Metainfo } from "../metainfo.ts";
import type { Precedence } from "../precedence.ts";
import { WireClient } from "./client.ts";
import { InfoHashes } from "./info-hashes.ts";
import { WireListener } from "./listener.ts";
import { Swarms } from "./swarms.ts";
import { WireBans } from "./wire-bans.ts";
import { WireDownload } from "./wire-download.ts";
import type { WireSource } from "./wire-source.ts";
import { WireTorrent } from "./wire-torrent.ts";

/** How peer ids of Eagle begin (`peer-id.ts`), hex. */
const EAGLE = Buffer.from("-EG").toString("hex");
/** Torrents in use at most: each pins its blob. */
const MAX_TORRENTS = 64;
/** Who asks for a torrent waits so long for the trackers to know this host, ms. */
const ADVERTISE_MS = 500;

export interface WireInit {
  /** 20 bytes. */
  readonly peerId: Uint8Array;
  readonly trackers: readonly (readonly URL[])[];
  readonly zone?: string | undefined;
  readonly http: TrackerHttp;
  /** This host's budget for what it sends to others. */
  readonly limiter: RateLimiter;
  /** Hosts of Eagle before wire peers. */
  readonly precedence: Precedence;
  /** Pins a blob. */
  peek(digest: Digest): Promise<Handle<LiveBlob> | undefined>;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** See the module. `listen` before use. */
export class Wire implements AsyncDisposable {
  readonly bans = new WireBans();
  readonly #init: WireInit;
  readonly #log: Logger;
  readonly #hashes = new InfoHashes();
  readonly #torrents = new Map<string, Promise<WireTorrent | undefined>>();
  readonly #downloads = new Map<string, WireDownload>();
  #listener: WireListener | undefined;
  #tracker: TrackerClient | undefined;
  #swarms: Swarms | undefined;
  #client: Promise<WireClient> | undefined;
  #closed = false;

  constructor(init: WireInit) {
    this.#init = init;
    this.#log = init.log.child({ part: "wire" });
  }

  /** The port that is listened at. @throws Error before `listen`. */
  get port(): number {
    if (!this.#listener) throw new Error("the wire does not listen yet");
    return this.#listener.port;
  }
  /** Whether WebTorrent is loaded. */
  get loaded(): boolean {
    return this.#client !== undefined;
  }
  /** Torrents in use. */
  get torrents(): number {
    return this.#torrents.size;
  }

  /** @throws the runtime's error when the address cannot be bound. */
  async listen({ host, port }: { host: string; port: number }): Promise<void> {
    this.#listener = await WireListener.open({
      host,
      port,
      accepts: (address) => !this.bans.hasHost(address),
      knows: (infoHash) => this.#hashes.digestOf(infoHash) !== undefined,
      onPeer: (socket, infoHash) => void this.#accept(socket, infoHash),
    });
    const { trackers, peerId, zone, http, metrics } = this.#init;
    if (trackers.length === 0) return;
    const log = this.#log;
    this.#tracker = new TrackerClient({
      trackers,
      peerId,
      port: this.port,
      http,
      log,
      metrics,
      ...(zone ? { zone } : {}),
    });
    this.#swarms = new Swarms({ tracker: this.#tracker, log });
  }

  /** A blob that others may have is here. */
  offer(digest: string, metainfo: Metainfo): void {
    this.#hashes.add(digest, metainfo);
  }

  /** It leaves. */
  withdraw(digest: string): void {
    const hash = this.#hashes.delete(digest);
    if (hash === undefined) return;
    this.#swarms?.leave(hash);
    void this.#torrents.get(hash)?.then((torrent) => torrent?.close());
  }

  /**
   * Somebody is handed the torrent of a blob: the trackers are told that it is here.
   * @returns Resolves when they know it, or soon when they do not answer.
   */
  async advertise(blob: LiveBlob): Promise<void> {
    const metainfo = blob.metainfo();
    if (!metainfo || !blob.isPublic) return;
    const hash = this.#hashes.add(blob.digest.toString(), metainfo);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const enough = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ADVERTISE_MS);
    });
    await Promise.race([this.#enter(hash), enough]);
    clearTimeout(timer);
  }

  /** A public blob arrives: it is offered as far as it is here, and wire peers help when others do not suffice. */
  join(blob: LiveBlob, download: Download): WireDownload {
    // Nobody gets it here then.
    blob.done.catch(() => this.withdraw(blob.digest.toString()));
    return new WireDownload(blob, download, {
      enter: (joined) => {
        const hash = this.#hashes.add(blob.digest.toString(), blob.metainfo()!);
        this.#downloads.set(hash, joined);
        return { announced: this.#enter(hash), sources: () => this.#sourcesOf(hash) };
      },
      leave: (joined) => {
        const hash = this.#hashes.hashOf(blob.digest.toString());
        if (hash === undefined) return;
        if (this.#downloads.get(hash) === joined) this.#downloads.delete(hash);
        this.#swarms?.completed(hash);
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#listener?.close();
    await this.#swarms?.close();
    await this.#tracker?.close();
    for (const torrent of this.#torrents.values()) (await torrent)?.close();
    await this.#client?.then((client) => client.close()).catch(() => {});
  }

  async #enter(hash: string): Promise<void> {
    await this.#swarms?.enter(hash, {
      left: () => this.#downloads.get(hash)?.left ?? 0,
      onAnswer: ({ peers, incomplete }) => {
        // Hosts of Eagle have each other by HTTP already.
        const strangers = peers.filter(
          (peer) => !peer.peerId?.startsWith(EAGLE) && !this.bans.has(peer) && peer.port !== 0,
        );
        const download = this.#downloads.get(hash);
        download?.onPeers(strangers.length);
        if (strangers.length === 0 || (!download && incomplete === 0)) return;
        void this.#torrent(hash).then((torrent) => torrent?.connect(strangers));
      },
    });
  }

  async #accept(socket: Socket, hash: string): Promise<void> {
    const onError = () => socket.destroy();
    socket.on("error", onError);
    const torrent = await this.#torrent(hash);
    if (!torrent || torrent.closed || socket.destroyed) {
      socket.destroy();
      return;
    }
    // From here on errors are WebTorrent's, which destroys the socket at the first.
    torrent.accept(socket);
    void this.#enter(hash);
  }

  /** The torrent, opened when it is not. Never rejects. */
  #torrent(hash: string): Promise<WireTorrent | undefined> {
    const known = this.#torrents.get(hash);
    if (known) return known;
    if (this.#closed || this.#torrents.size >= MAX_TORRENTS) return Promise.resolve(undefined);
    const opening = this.#open(hash).catch((error: unknown) => {
      this.#log.warn("a blob cannot be offered by wire", { infoHash: hash, error });
      return undefined;
    });
    this.#torrents.set(hash, opening);
    void opening.then((torrent) => {
      if ((!torrent || torrent.closed) && this.#torrents.get(hash) === opening) this.#torrents.delete(hash);
    });
    return opening;
  }

  async #open(hash: string): Promise<WireTorrent | undefined> {
    const digest = this.#hashes.digestOf(hash);
    const handle = digest === undefined ? undefined : await this.#init.peek(parseDigest(digest));
    if (!handle) return undefined;
    if (!handle.blob.isPublic || !handle.blob.metainfo()) {
      handle.release();
      return undefined;
    }
    let client: WireClient;
    try {
      client = await this.#load();
    } catch (error) {
      handle.release();
      throw error;
    }
    const { limiter, precedence, metrics } = this.#init;
    return await WireTorrent.open({
      client,
      handle,
      limiter,
      precedence,
      bans: this.bans,
      log: this.#log.child({ blob: digest! }),
      onBytes: (bytes) => metrics.bytes.inc({ source: "wire", direction: "out" }, bytes),
      onSource: (source) => this.#downloads.get(hash)?.onSource(source),
      onUse: () => this.#swarms?.touch(hash),
      onClose: () => this.#torrents.delete(hash),
    });
  }

  #load(): Promise<WireClient> {
    const client =
      this.#client ??
      WireClient.load({
        peerId: this.#init.peerId,
        port: this.port,
        onError: (error) => {
          this.#log.warn("the BitTorrent client failed; it is started anew when it is needed", { error });
          if (this.#client === client) this.#client = undefined;
        },
      });
    this.#client = client;
    client.catch(() => {
      if (this.#client === client) this.#client = undefined;
    });
    return client;
  }

  async *#sourcesOf(hash: string): AsyncGenerator<WireSource> {
    yield* (await this.#torrents.get(hash))?.sources() ?? [];
  }
}
