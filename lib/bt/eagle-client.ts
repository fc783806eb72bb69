/**
 * The EagleClient: what a proxy takes blobs from. It finds, fetches, verifies, keeps and offers them.
 * @module
 */
import type { Handle } from "../cache/index.ts";
import type { Digest } from "../registry/digest.ts";
import type { Bitfield } from "./bitfield.ts";
import type { BlobStore } from "./blob-store.ts";
import { BlobError } from "./errors.ts";
import { Fetch, type FetchContext, type FetchRequest } from "./fetch.ts";
import type { LiveBlob } from "./live-blob.ts";
import { MismatchMemory } from "./mismatch-memory.ts";
import type { PeerEndpoint } from "./sources/connection.ts";

/** See the module. */
export class EagleClient {
  readonly #store: BlobStore;
  readonly #context: FetchContext;
  readonly #fetches = new Map<string, Fetch>();
  readonly #mismatches = new MismatchMemory();

  constructor(store: BlobStore, context: FetchContext) {
    this.#store = store;
    this.#context = { downloads: new Set(), ...context };
  }

  /**
   * A blob, committed or arriving. The caller releases the handle.
   * @throws BlobError; digest_mismatch at once when its bytes were wrong twice within the last minute.
   */
  async acquire(
    digest: Digest,
    request: FetchRequest,
    options: { signal?: AbortSignal } = {},
  ): Promise<Handle<LiveBlob>> {
    if (!this.#store.has(digest)) this.#mismatches.check(digest);
    const { metrics } = this.#context;
    const handle = await this.#store.acquire(digest, (blob, signal) => this.#fetch(blob, request, signal), options);
    if (handle.source === "cache") metrics.cacheHits.inc();
    else if (handle.source === "fetched") metrics.cacheMisses.inc();
    if (request.onlyPublic && !handle.blob.isPublic) {
      handle.release();
      throw new BlobError("unavailable", `${digest} is here, but its registry cannot be asked who may have it`);
    }
    if (request.isPublic) await this.#store.publish(handle.blob);
    return handle;
  }

  /** A peer that follows an arriving blob here has pieces to give as well. */
  addFollower(digest: Digest, peer: PeerEndpoint & { peerId?: string }): void {
    this.#fetches.get(digest.hex)?.addFollower(peer);
  }

  /** What a peer has of an arriving blob; undefined when it is not followed. */
  piecesOf(digest: Digest, peer: PeerEndpoint): Bitfield | undefined {
    return this.#fetches.get(digest.hex)?.piecesOf(peer);
  }

  /** Median ms that a piece of an arriving blob takes; undefined before the first. */
  pieceMs(digest: Digest): number | undefined {
    return this.#fetches.get(digest.hex)?.pieceMs;
  }

  #fetch(blob: LiveBlob, request: FetchRequest, signal: AbortSignal): void {
    // Here as well: a caller that met the second failure in its last moment begins the third attempt.
    this.#mismatches.check(blob.digest);
    blob.isPublic = request.isPublic;
    const fetch = new Fetch(blob, request, this.#context);
    this.#fetches.set(blob.id, fetch);
    blob.done.catch((error) => {
      const code = error instanceof BlobError ? error.code : undefined;
      if (code !== "digest_mismatch" && code !== "other_list") return;
      // What a lying peer said tells nothing about the origin, nor does a list that the origin contradicts.
      if (fetch.hashesFrom) this.#context.bans.add(fetch.hashesFrom);
      else if (code === "digest_mismatch") this.#mismatches.add(blob.digest);
    });
    void fetch.run(signal).finally(() => {
      if (this.#fetches.get(blob.id) === fetch) this.#fetches.delete(blob.id);
    });
  }
}
