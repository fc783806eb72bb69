/**
 * How a seeder gets blobs when several share a bucket: one reads the origin, the others take the blob from it piece by
 * piece as any host would, so that they can tell and serve their own clients meanwhile, and go on where it stopped when
 * it dies.
 * @module
 */
import { MetaInfoClient } from "../../rpc/client.ts";
import type { Storage } from "../../storage/index.ts";
import { Fetch, type FetchContext } from "../fetch.ts";
import type { LiveBlob } from "../live-blob.ts";
import { fillFromOrigin, type Origin } from "../origin-fill.ts";
import type { Claims } from "./claims.ts";
import { Turn } from "./turn.ts";

/** The owner of a turn shows a sign of life each second: silence for so long is a failure, ms. */
const SILENCE_MS = 5000;
/** Slowest upload to the bucket by its owner that is waited for, bytes/s, and what is waited at least, ms. */
const PATIENCE = { rate: 4 * 1024 * 1024, leastMs: 60_000 };

export interface SharedFillsInit {
  readonly storage: Storage;
  /** Closed with this. */
  readonly claims: Claims;
  /** What fetches from other seeders need; `metainfo` is not used. */
  readonly context: Omit<FetchContext, "metainfo">;
}

/** What is to be had from where. */
export interface SharedFillRequest {
  /** Whole URL of the blob at its origin. */
  readonly url: string;
  readonly origin: Origin;
  readonly signal: AbortSignal;
  /** Bytes that the origin sent. */
  onBytes?(bytes: number): void;
}

/** See the module. */
export class SharedFills implements AsyncDisposable {
  readonly #init: SharedFillsInit;
  readonly #turns = new Map<string, Turn>();
  /** By URL; as many as there are seeders. */
  readonly #clients = new Map<string, MetaInfoClient>();

  constructor(init: SharedFillsInit) {
    this.#init = init;
  }

  /**
   * Fills a blob. Resolves when all pieces are there or the blob has failed.
   * @returns whether this seeder read the origin for it
   * @throws BlobError, as `fillFromOrigin`
   */
  async fill(blob: LiveBlob, request: SharedFillRequest): Promise<boolean> {
    const { storage, claims, context } = this.#init;
    const turn = new Turn({
      id: blob.id,
      origin: request.origin,
      storage,
      claims,
      clientOf: (seeder) => this.#clientOf(seeder),
      log: context.log,
    });
    this.#turns.set(blob.id, turn);
    const ended = () => {
      if (this.#turns.get(blob.id) === turn) this.#turns.delete(blob.id);
      void turn.release();
    };
    blob.done.then(ended, ended);
    const look = await turn.look();
    if (look.kind !== "other") {
      const { downLimiter: limiter, maxSize } = context;
      const { signal, onBytes } = request;
      await fillFromOrigin(blob, { origin: turn.origin, limiter, maxSize, signal, ...(onBytes ? { onBytes } : {}) });
      return turn.isMine;
    }
    context.log.info("another seeder reads a blob: following it", { blob: blob.id, owner: look.owner.host });
    const fetch = new Fetch(
      blob,
      // As anyone: what parts give each other need not be public, and this fill is for who knows whom.
      { url: request.url, origin: turn.origin, isPublic: true, asPart: false },
      { ...context, metainfo: { streamMetaInfo: (query) => turn.streamMetaInfo(query) } },
    );
    await fetch.run(request.signal);
    return turn.isMine;
  }

  /** Whether another seeder has stored a blob that is verified here, or does so while this waits; else this one must. */
  async isStoredByOther(blob: LiveBlob): Promise<boolean> {
    const turn = this.#turns.get(blob.id);
    if (!turn) return false;
    const patienceMs = Math.max(PATIENCE.leastMs, ((blob.size ?? 0) / PATIENCE.rate) * 1000);
    return await turn.isStoredByOther({ patienceMs });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#turns.values()].map((turn) => turn.release()));
    await this.#init.claims[Symbol.asyncDispose]();
    await Promise.all([...this.#clients.values()].map((client) => client.close()));
  }

  #clientOf(seeder: URL): MetaInfoClient {
    const known = this.#clients.get(seeder.href);
    if (known) return known;
    const { log, cluster } = this.#init.context;
    const client = new MetaInfoClient({
      seeders: [seeder],
      deadlineMs: 3000,
      progressTimeoutMs: SILENCE_MS,
      log,
      ...(cluster ? { cluster } : {}),
    });
    this.#clients.set(seeder.href, client);
    return client;
  }
}
