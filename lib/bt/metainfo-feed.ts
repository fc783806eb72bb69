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
import { MetaInfoError } from "../rpc/errors.ts";
import type { BlobEvent } from "../rpc/meta-info.ts";
import { BlobError } from "./errors.ts";
import type { FetchContext, FetchRequest } from "./fetch.ts";
import { Layout } from "./layout.ts";
import type { LiveBlob } from "./live-blob.ts";
import { decodeMetainfo, type Metainfo } from "./metainfo.ts";
import { fetchPeerMetainfo } from "./peer-metainfo.ts";
import { sleep } from "./sleep.ts";
import type { PeerEndpoint } from "./sources/connection.ts";
import { impatientMs } from "./time-bounds.ts";

/** How often the seeders are asked again when their stream breaks. */
const MAX_REOPENS = 5;
/** What trackers bring within this time is asked for metainfo, ms. */
const PEERS_MS = 300;

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

/** See the module. Everything it hears goes into the blob. */
export class MetainfoFeed {
  readonly #init: MetainfoFeedInit;
  #hashesFrom: string | undefined;

  constructor(init: MetainfoFeedInit) {
    this.#init = init;
  }

  /** The peer whose list of hashes was taken in want of a seeder: its word alone. */
  get hashesFrom(): string | undefined {
    return this.#hashesFrom;
  }

  /** Takes what the seeders tell, from the next one when a stream breaks. @throws MetaInfoError when none tells. */
  async followSeeders(signal: AbortSignal): Promise<void> {
    const { blob, request, context, asPart, log } = this.#init;
    if (!context.metainfo) throw new MetaInfoError("unavailable", "no seeder is configured");
    const avoid: URL[] = [];
    let known = 0;
    for (let attempt = 0; ; attempt++) {
      const stream = await context.metainfo.streamMetaInfo({
        url: request.url,
        key: blob.digest.toString(),
        asPart,
        ...this.#credentials(),
        signal,
        avoid,
      });
      try {
        for await (const event of stream.events) await this.#take(event, stream.seeder);
        return;
      } catch (error) {
        if (!(error instanceof MetaInfoError) || signal.aborted || attempt >= MAX_REOPENS) throw error;
        // The same seeder broke off again and told nothing new meanwhile: it has nothing to tell.
        const again = avoid.some((url) => url.href === stream.seeder.href);
        if (again && (blob.hashes?.known.count ?? 0) === known) throw error;
        known = blob.hashes?.known.count ?? 0;
        log.info("a seeder's stream broke", { seeder: stream.seeder.host, error: error.message });
        avoid.push(stream.seeder);
      }
    }
  }

  /** Asks peers, as trackers bring them, until one tells or all were asked. */
  async fromPeers(
    peers: ReadonlyMap<string, PeerEndpoint>,
    { allHeard, signal }: { allHeard: () => boolean; signal: AbortSignal },
  ): Promise<void> {
    const { blob, context, cluster, asPart } = this.#init;
    const http = new ClusterHttp(context.http, cluster, { asPart });
    const asked = new Set<string>();
    for (const deadline = performance.now() + PEERS_MS; performance.now() < deadline; await sleep(20, signal)) {
      for (const [name, peer] of peers) {
        if (asked.has(name)) continue;
        asked.add(name);
        const timeoutMs = impatientMs(context.bounds);
        const metainfo = await fetchPeerMetainfo(http, { peer, digest: blob.digest, timeoutMs, signal });
        if (!metainfo || metainfo.layout.size > context.maxSize || !this.#isSize(metainfo.layout.size)) continue;
        this.#hashesFrom = name;
        await blob.begin(metainfo.layout);
        blob.addHashes(0, metainfo.pieces);
        return;
      }
      if (allHeard() && asked.size === peers.size) return;
    }
  }

  /** Credentials go to seeders that know this host for a part of their cluster, and for what is private alone. */
  #credentials(): { authorization?: string } {
    const { request, cluster, asPart } = this.#init;
    const { isPublic, authorization } = request;
    return cluster.closed && asPart && !isPublic && authorization !== undefined ? { authorization } : {};
  }

  async #take(event: BlobEvent, seeder: URL): Promise<void> {
    const { blob, context, onSeeder } = this.#init;
    if (event.type === "progress") blob.progress(event.bytes);
    else if (event.type === "hashes") blob.addHashes(event.firstIndex, event.sha1s);
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
      else onSeeder(seeder);
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
