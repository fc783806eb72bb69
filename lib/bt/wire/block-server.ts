/**
 * Answers the requests of one wire from the blob's file. In order, one at a time, within the host's upload limit, and
 * no faster than the other side takes it: a peer that asks and does not read holds a bounded number of bytes.
 * @module
 */
import type { Wire } from "webtorrent";
import type { RateLimiter } from "../limiter.ts";
import type { LiveBlob } from "../live-blob.ts";
import type { Precedence } from "../precedence.ts";

/** A request for more is refused (as BitTorrent clients do). */
const MAX_BLOCK = 128 * 1024;
/** Requests that a peer may have open; it is told so in the extended handshake (BEP 10, `reqq`). */
export const MAX_REQUESTS = 500;
/** Read from the file at once, bytes: peers ask for the blocks of a piece one after the other. */
const WINDOW = 256 * 1024;
/** Bytes that may wait for the other side. */
const MAX_UNSENT = 512 * 1024;
const UNSENT_POLL_MS = 5;

type Respond = (error: Error | null, block?: Uint8Array) => void;

interface Asked {
  readonly piece: number;
  readonly offset: number;
  readonly length: number;
  readonly respond: Respond;
}

export interface BlockServerInit {
  readonly wire: Wire;
  readonly blob: LiveBlob;
  readonly limiter: RateLimiter;
  readonly precedence: Precedence;
  onBytes(bytes: number): void;
}

/** See the module. Ends with the wire. */
export class BlockServer {
  readonly #init: BlockServerInit;
  readonly #gone = new AbortController();
  #asked: Asked[] = [];
  #serving = false;
  /** Blocks handed out share its memory, so that it is never written again. */
  #window: { readonly start: number; readonly bytes: Uint8Array } | undefined;

  constructor(init: BlockServerInit) {
    this.#init = init;
    const { wire } = init;
    wire.extendedHandshake.reqq = MAX_REQUESTS;
    wire.on("request", (piece: number, offset: number, length: number, respond: Respond) => {
      this.#onRequest({ piece, offset, length, respond });
    });
    wire.on("cancel", (piece: number, offset: number, length: number) => {
      this.#asked = this.#asked.filter(
        (asked) => asked.piece !== piece || asked.offset !== offset || asked.length !== length,
      );
    });
    wire.on("uninterested", () => {
      this.#asked = [];
    });
    wire.once("close", () => this.#gone.abort());
  }

  #onRequest(asked: Asked): void {
    const { wire } = this.#init;
    if (this.#asked.length >= 4 * MAX_REQUESTS) wire.destroy();
    else if (!this.#has(asked)) asked.respond(new Error("this block is not here"));
    else {
      this.#asked.push(asked);
      if (!this.#serving) void this.#serve();
    }
  }

  #has({ piece, offset, length }: Asked): boolean {
    const { layout, have, verified, error } = this.#init.blob;
    if (!layout || !have || error || !(piece >= 0 && piece < layout.count)) return false;
    if (!(length > 0 && length <= MAX_BLOCK && offset >= 0 && offset + length <= layout.length(piece))) return false;
    return verified || have.has(piece);
  }

  async #serve(): Promise<void> {
    this.#serving = true;
    try {
      for (let next = this.#next(); next; next = this.#next()) await this.#answer(next);
    } catch {
      // The blob failed or the connection ended.
      if (!this.#gone.signal.aborted) this.#init.wire.destroy();
    } finally {
      this.#serving = false;
      this.#window = undefined;
    }
  }

  #next(): Asked | undefined {
    const { wire } = this.#init;
    // A choke takes back what was asked before it (BEP 3); a new request can only come after the unchoke.
    if (wire.destroyed || wire.amChoking) this.#asked = [];
    return this.#asked.shift();
  }

  async #answer({ piece, offset, length, respond }: Asked): Promise<void> {
    const { wire, limiter, precedence, onBytes, blob } = this.#init;
    await precedence.turn(length, this.#gone.signal);
    await limiter.take(length, { key: blob.id, signal: this.#gone.signal });
    while (wire._readableState.buffered > MAX_UNSENT) await this.#pause();
    const block = await this.#read(blob.layout!.start(piece) + offset, length, blob.layout!.end(piece));
    if (wire.destroyed) return;
    respond(null, block);
    onBytes(length);
  }

  async #read(start: number, length: number, pieceEnd: number): Promise<Uint8Array> {
    let window = this.#window;
    if (!window || start < window.start || start + length > window.start + window.bytes.length) {
      const bytes = new Uint8Array(Math.max(length, Math.min(WINDOW, pieceEnd - start)));
      await this.#init.blob.read(bytes, start);
      window = { start, bytes };
      this.#window = window;
    }
    return window.bytes.subarray(start - window.start, start - window.start + length);
  }

  async #pause(): Promise<void> {
    this.#gone.signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, UNSENT_POLL_MS));
  }
}
