/**
 * One blob's turn at a seeder that shares a bucket: it reads the origin, or follows the seeder that does, or finds that
 * the bucket has the blob by now. The owner may die at any time, and this seeder's turn may come.
 * @module
 */
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../../log/log.ts";
import type { BlobRead } from "../../registry/blob-read.ts";
import { RegistryError } from "../../registry/errors.ts";
import type { MetaInfoClient, SeederQuery, SeederStream } from "../../rpc/client.ts";
import { MetaInfoError } from "../../rpc/errors.ts";
import { BlobNotFoundError, type Storage } from "../../storage/index.ts";
import { decodeMetainfo, MetainfoError } from "../metainfo.ts";
import type { Origin } from "../origin-fill.ts";
import type { Claim, Claims } from "./claims.ts";

/** How often the bucket and the owner are looked at while neither delivers, ms: often at first. */
const POLL_MS = 300;
const SLOW_POLL_MS = 1500;
/** An owner that could not be asked for so long is given up, where that can be done, ms. */
const UNREACHABLE_MS = 5000;
const CONNECT_MS = 1000;

export interface TurnInit {
  /** Hex of the digest. */
  readonly id: string;
  readonly origin: Origin;
  readonly storage: Storage;
  readonly claims: Claims;
  /** A client of one seeder; closed by its maker. */
  clientOf(seeder: URL): Pick<MetaInfoClient, "streamMetaInfo">;
  readonly log: Logger;
}

/** What is the case now. */
type Look = { readonly kind: "mine" | "stored" } | { readonly kind: "other"; readonly owner: URL };

/** See the module. `release` it. */
export class Turn {
  readonly #init: TurnInit;
  /** Owners that have answered this seeder: their addresses are right. */
  readonly #met = new Set<string>();
  #claim: Extract<Claim, { kind: "mine" }> | undefined;
  #alone = false;
  #released = false;
  /** Bytes of the blob, when the bucket has it. */
  #stored: number | undefined;

  constructor(init: TurnInit) {
    this.#init = init;
  }

  /** Whether this seeder reads the origin. */
  get isMine(): boolean {
    return this.#claim !== undefined || this.#alone;
  }

  /** Looks at the bucket and asks for the turn. Never fails: without the bucket's word this seeder acts alone. */
  async look(): Promise<Look> {
    const { id, claims, log } = this.#init;
    try {
      if (await this.isStored()) return { kind: "stored" };
      if (this.isMine) return { kind: "mine" };
      const claim = await claims.claim(id);
      if (claim.kind === "other") return claim;
      if (this.#released) await claim.release();
      else this.#claim = claim;
      // It may have been stored, and the lease released, just before.
      return { kind: (await this.isStored()) ? "stored" : "mine" };
    } catch (error) {
      log.warn("cannot tell whose turn a blob is: reading it anyway", { blob: id, error });
      this.#alone = true;
      return { kind: "mine" };
    }
  }

  /** Whether the bucket has the blob as a public one. @throws StorageError */
  async isStored(): Promise<boolean> {
    if (this.#stored !== undefined) return true;
    const { id, storage } = this.#init;
    try {
      const { size } = await storage.stat(id);
      // Turns are for what anyone may read. What is stored as private says nothing of who asks here.
      if (!(await isPublic(storage, id))) return false;
      this.#stored = size;
      return true;
    } catch (error) {
      if (error instanceof BlobNotFoundError) return false;
      throw error;
    }
  }

  /** The blob's origin, when it is this seeder's turn; the bucket, when it has the blob. Waits for either. */
  get origin(): Origin {
    const { origin } = this.#init;
    return {
      name: origin.name,
      prepare: (signal) => this.#untilReadable(signal),
      read: (range, signal) =>
        this.#stored === undefined ? origin.read(range, signal) : this.#readStored(this.#stored, range),
    };
  }

  /**
   * The stream of whoever has the turn.
   * @throws MetaInfoError when this seeder has it, or the bucket has the blob: then `origin` is the way
   */
  async streamMetaInfo(query: SeederQuery): Promise<SeederStream> {
    const { clientOf, log, id } = this.#init;
    let since = performance.now();
    let last: string | undefined;
    for (;;) {
      query.signal?.throwIfAborted();
      const look = await this.look();
      if (look.kind !== "other") throw new MetaInfoError("unavailable", "no other seeder reads this blob");
      const { owner } = look;
      if (owner.href !== last) since = performance.now();
      last = owner.href;
      try {
        const { avoid: _, ...rest } = query;
        const stream = await clientOf(owner).streamMetaInfo(rest);
        this.#met.add(owner.href);
        return stream;
      } catch (error) {
        query.signal?.throwIfAborted();
        if (!(error instanceof MetaInfoError) || !["unavailable", "deadline_exceeded"].includes(error.code)) {
          // It has tried and was refused: what the origin says to this seeder is as good.
          this.#alone = true;
          throw error;
        }
        log.debug("the seeder that reads a blob does not answer", { blob: id, owner: owner.host, error });
        await this.#examine(owner, performance.now() - since);
        await pause(POLL_MS, query.signal);
      }
    }
  }

  /** Waits until somebody else has stored the blob. @returns false when this seeder has to */
  async isStoredByOther({ patienceMs, signal }: { patienceMs: number; signal?: AbortSignal }): Promise<boolean> {
    const end = performance.now() + patienceMs;
    for (let pauseMs = POLL_MS; ; pauseMs = slower(pauseMs)) {
      const look = await this.look();
      if (look.kind !== "other") return look.kind === "stored";
      if (performance.now() > end) return false;
      await this.#examine(look.owner, 0);
      await pause(pauseMs, signal);
    }
  }

  async release(): Promise<void> {
    this.#released = true;
    await this.#claim?.release();
  }

  async #untilReadable(signal: AbortSignal): Promise<void> {
    const since = performance.now();
    for (let pauseMs = POLL_MS; ; pauseMs = slower(pauseMs)) {
      const look = await this.look();
      if (look.kind !== "other") return;
      await this.#examine(look.owner, performance.now() - since);
      await pause(pauseMs, signal);
    }
  }

  /** Whether an owner lives. One that refuses connections at an address where it once answered is dead. */
  async #examine(owner: URL, unansweredMs: number): Promise<void> {
    const found = await knock(owner);
    if (found === "open") return;
    if (found === "refused" && this.#met.has(owner.href)) this.#init.claims.suspect(owner, { dead: true });
    else if (unansweredMs > UNREACHABLE_MS) this.#init.claims.suspect(owner, { dead: false });
  }

  async #readStored(size: number, range: { start?: number; end?: number }): Promise<BlobRead> {
    const { id, storage } = this.#init;
    const { start = 0, end = size } = range;
    const stop = Math.min(end, size);
    try {
      const stream = await storage.download(id, { start, end: stop });
      return {
        size,
        ranged: true,
        body: stream,
        close: () => {
          stream.cancel().catch(() => {});
        },
      };
    } catch (cause) {
      throw new RegistryError("unavailable", `cannot read blob ${id} from the bucket`, { cause });
    }
  }
}

/** @throws StorageError */
async function isPublic(storage: Storage, id: string): Promise<boolean> {
  const bytes = await storage.readMetaInfo(id);
  try {
    return decodeMetainfo(bytes).isPublic === true;
  } catch (error) {
    if (error instanceof MetainfoError) return false;
    throw error;
  }
}

function slower(pauseMs: number): number {
  return Math.min(SLOW_POLL_MS, pauseMs * 1.3);
}

/** @throws the signal's reason */
async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal ? { signal } : {});
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

/** Opens a connection and closes it. */
function knock({ hostname, port, protocol }: URL): Promise<"open" | "refused" | "silent"> {
  const host = hostname.replace(/^\[|\]$/g, "");
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port) || (protocol === "https:" ? 443 : 80) });
    const end = (found: "open" | "refused" | "silent") => {
      clearTimeout(timer);
      socket.destroy();
      resolve(found);
    };
    const timer = setTimeout(() => end("silent"), CONNECT_MS);
    socket.once("connect", () => end("open"));
    socket.once("error", (error: NodeJS.ErrnoException) => end(error.code === "ECONNREFUSED" ? "refused" : "silent"));
  });
}
