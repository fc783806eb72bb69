/**
 * How a blob's layout and piece hashes come to this host: from a seeder's stream, from the next seeder when it breaks,
 * and from a peer that has the whole blob when no seeder tells.
 * @module
 */
import { createHash } from "node:crypto";
import type { ClusterAuth } from "../cluster/cluster-auth.ts";
import { ClusterHttp } from "../cluster/cluster-http.ts";
import type { Logger } from "../log/log.ts";
import { createDigestHash } from "../registry/digest.ts";
import type { SeederStream } from "../rpc/client.ts";
import { MetaInfoError } from "../rpc/errors.ts";
import type { BlobEvent } from "../rpc/meta-info.ts";
import { TRICKLE } from "./download.ts";
import { BlobError } from "./errors.ts";
import type { FetchContext, FetchRequest } from "./fetch.ts";
import { Layout } from "./layout.ts";
import type { LiveBlob } from "./live-blob.ts";
import { decodeMetainfo, type Metainfo } from "./metainfo.ts";
import { fetchPeerMetainfo } from "./peer-metainfo.ts";
import { sleep } from "./sleep.ts";
import type { PeerEndpoint } from "./sources/connection.ts";
import { authority, endpointOf } from "./sources/http-source.ts";
import { impatientMs } from "./time-bounds.ts";

/** How often the seeders are asked again when their stream breaks. */
const MAX_REOPENS = 5;
/** What trackers bring within this time is asked for metainfo, ms. */
const PEERS_MS = 300;
/** Peers asked for metainfo at once; those that are silent for so long, ms, keep nobody from being asked besides them. */
const AT_ONCE = { peers: 4, silentMs: 250 };
/** How often more are looked for, ms. */
const POLL_MS = 20;

export interface MetainfoFeedInit {
  readonly blob: LiveBlob;
  readonly request: FetchRequest;
  readonly context: FetchContext;
  readonly cluster: ClusterAuth;
  /** Others are asked as a part of the cluster. */
  readonly asPart: boolean;
  readonly log: Logger;
  /** A seeder that tells of the blob has its pieces, too. */
  onSeeder(seeder: URL): void;
}

/** What a peer told. */
interface PeerWord {
  /** Where the peer is. */
  readonly name: string;
  readonly metainfo: Metainfo;
}

/** See the module. Everything it hears goes into the blob. */
export class MetainfoFeed {
  readonly #init: MetainfoFeedInit;
  /** Seeders that told of the blob, by `host:port`. */
  readonly #told = new Map<string, URL>();
  /** Those whose stream or pieces failed, by URL: another is asked first. */
  readonly #avoided = new Map<string, URL>();
  /** Streams that told of the blob and go on. */
  #telling = 0;
  #hashesFrom: string | undefined;
  #progressAt = 0;

  constructor(init: MetainfoFeedInit) {
    this.#init = init;
  }

  /** The peer whose list of hashes was taken in want of a seeder: its word alone. */
  get hashesFrom(): string | undefined {
    return this.#hashesFrom;
  }

  /** Whether a seeder tells which pieces are right, as it learns of them. */
  get isTelling(): boolean {
    return this.#telling > 0;
  }

  /** When a seeder told last of bytes that it had read meanwhile, more than are here; monotonic ms, 0 before. */
  get progressAt(): number {
    return this.#progressAt;
  }

  /** Others are asked before this seeder from now on. @param name `host:port` */
  avoid(name: string): void {
    const url = this.#told.get(name);
    if (url) this.#avoided.set(url.href, url);
  }

  /** Takes what the seeders tell, from the next one when a stream breaks. @throws MetaInfoError when none tells. */
  async followSeeders(signal: AbortSignal): Promise<void> {
    const { blob, request, context, asPart, log } = this.#init;
    if (!context.metainfo) throw new MetaInfoError("unavailable", "no seeder is configured");
    const broken = new Set<string>();
    let known = 0;
    for (let attempt = 0; ; attempt++) {
      const stream = await context.metainfo.streamMetaInfo({
        url: request.url,
        key: blob.digest.toString(),
        asPart,
        ...this.#credentials(),
        signal,
        avoid: [...this.#avoided.values()],
      });
      try {
        await this.#read(stream);
        return;
      } catch (error) {
        if (!(error instanceof MetaInfoError) || signal.aborted || attempt >= MAX_REOPENS) throw error;
        // The same seeder broke off again and told nothing new meanwhile: it has nothing to tell.
        if (broken.has(stream.seeder.href) && (blob.hashes?.known.count ?? 0) === known) throw error;
        known = blob.hashes?.known.count ?? 0;
        log.info("a seeder's stream broke", { seeder: stream.seeder.host, error: error.message });
        broken.add(stream.seeder.href);
        this.#avoided.set(stream.seeder.href, stream.seeder);
      }
    }
  }

  /** Takes what one seeder tells. */
  async #read({ events, seeder }: SeederStream): Promise<void> {
    const { blob } = this.#init;
    const isProgress = progressOf();
    let isTelling = false;
    try {
      for await (const event of events) {
        if (event.type !== "progress") {
          await this.#take(event, seeder);
          if (!isTelling) this.#telling += 1;
          isTelling = true;
        } else if (isProgress(event.bytes) && event.bytes > blob.received) {
          this.#progressAt = performance.now();
          blob.progress(event.bytes);
        }
      }
    } finally {
      if (isTelling) this.#telling -= 1;
    }
  }

  /**
   * Asks peers, as trackers bring them, a few at once, until one tells, all have answered, or the time that one party may
   * be silent is over for all of them.
   * @throws BlobError when the blob cannot begin; the signal's reason.
   */
  async fromPeers(
    peers: ReadonlyMap<string, PeerEndpoint>,
    how: { allHeard: () => boolean; signal: AbortSignal },
  ): Promise<void> {
    const { blob } = this.#init;
    const found = await this.#askPeers(peers, how);
    if (!found) return;
    this.#hashesFrom = found.name;
    await blob.begin(found.metainfo.layout);
    blob.addHashes(0, found.metainfo.pieces);
  }

  /** @returns What the first of them told that can be taken. Nobody is asked any more then. */
  async #askPeers(
    peers: ReadonlyMap<string, PeerEndpoint>,
    { allHeard, signal }: { allHeard: () => boolean; signal: AbortSignal },
  ): Promise<PeerWord | undefined> {
    const { blob, context, cluster, asPart } = this.#init;
    const http = new ClusterHttp(context.http, cluster, { asPart });
    const over = new AbortController();
    const inner = AbortSignal.any([signal, over.signal]);
    const begun = performance.now();
    const end = begun + impatientMs(context.bounds);
    const heard = new Map<string, PeerEndpoint>();
    const asked = new Set<string>();
    /** Since when those under way are silent, monotonic ms. */
    const owing = new Map<string, number>();
    const { promise: told, resolve: tell } = Promise.withResolvers<void>();
    let word: PeerWord | undefined;
    const ask = async (name: string, peer: PeerEndpoint, now: number) => {
      asked.add(name);
      owing.set(name, now);
      const metainfo = await fetchPeerMetainfo(http, {
        peer,
        digest: blob.digest,
        timeoutMs: Math.ceil(end - now),
        signal: inner,
      });
      owing.delete(name);
      if (!metainfo || metainfo.layout.size > context.maxSize || !this.#isSize(metainfo.layout.size)) return;
      word ??= { name, metainfo };
      tell();
    };
    try {
      for (let now = begun; !word && now < end; now = performance.now()) {
        const isHearing = now < begun + PEERS_MS;
        if (isHearing) for (const [name, peer] of peers) heard.set(name, peer);
        let room = AT_ONCE.peers;
        for (const since of owing.values()) if (now - since < AT_ONCE.silentMs) room -= 1;
        for (const [name, peer] of heard) {
          if (room <= 0) break;
          if (asked.has(name)) continue;
          room -= 1;
          // It rejects only when nobody is asked any more.
          ask(name, peer, now).catch(() => {});
        }
        const areDone = owing.size === 0 && asked.size === heard.size;
        if (areDone && (!isHearing || allHeard())) break;
        await Promise.race([told, sleep(Math.min(POLL_MS, end - now), inner)]);
      }
      return word;
    } finally {
      over.abort();
    }
  }

  /** Credentials go to seeders that know this host for a part of their cluster, and for what is private alone. */
  #credentials(): { authorization?: string } {
    const { request, cluster, asPart } = this.#init;
    const { isPublic, authorization } = request;
    return cluster.closed && asPart && !isPublic && authorization !== undefined ? { authorization } : {};
  }

  async #take(event: Exclude<BlobEvent, { type: "progress" }>, seeder: URL): Promise<void> {
    const { blob, context, onSeeder } = this.#init;
    if (event.type === "hashes") blob.addHashes(event.firstIndex, event.sha1s);
    else if (event.type === "metainfo") blob.addHashes(0, this.#checked(event.metainfo).pieces);
    else {
      if (event.digest !== blob.digest.toString())
        throw new BlobError("other_list", `${seeder.host} answered for ${event.digest}`);
      if (!this.#isSize(event.size))
        throw new BlobError("unavailable", `${seeder.host} has ${event.size} bytes as ${blob.digest}`);
      if (event.size > context.maxSize)
        throw new BlobError("too_large", `${blob.digest}: ${event.size} bytes are more than the cache may hold`);
      if (event.inline) this.#checkInline(event.inline, event.size);
      await blob.begin(new Layout(event.size, event.pieceLength));
      if (event.inline) await this.#storeInline(event.inline);
      else {
        this.#told.set(authority(endpointOf(seeder)), seeder);
        onSeeder(seeder);
      }
    }
  }

  #isSize(size: number): boolean {
    const told = this.#init.request.size;
    return told === undefined || told === size;
  }

  #checked(bytes: Uint8Array): Metainfo {
    const { blob } = this.#init;
    const metainfo = decodeMetainfo(bytes);
    if (metainfo.id !== blob.id || !blob.layout?.equals(metainfo.layout)) {
      throw new BlobError("other_list", `${blob.digest}: the metainfo is another blob's`);
    }
    return metainfo;
  }

  /** What a seeder sends whole tells by itself whether it is right. */
  #checkInline(bytes: Uint8Array, size: number): void {
    const { blob } = this.#init;
    const isRight = bytes.length === size && createDigestHash(blob.digest).update(bytes).digest("hex") === blob.id;
    if (!isRight) throw new BlobError("other_list", `${blob.digest}: the seeder sent other bytes`);
  }

  async #storeInline(bytes: Uint8Array): Promise<void> {
    const { blob, context } = this.#init;
    blob.addHashes(0, createHash("sha1").update(bytes).digest());
    context.metrics.bytes.inc({ source: "seeder", direction: "in" }, bytes.length);
    await blob.store(0, bytes, "seeder");
  }
}

/**
 * A seeder tells each second that it lives, how much it has read, and it may have read nothing meanwhile.
 * @returns Whether what it tells in one stream is worth the name, each time; the first time it only says where it stands.
 */
function progressOf(): (bytes: number) => boolean {
  let told: number | undefined;
  return (bytes) => {
    const isFirst = told === undefined;
    if (told !== undefined && bytes - told < TRICKLE) return false;
    told = bytes;
    return !isFirst;
  };
}
