/**
 * A peer or a seeder as a source of pieces, over Eagle's peer HTTP.
 * @module
 */
import { createHash } from "node:crypto";
import { ClusterAuth } from "../../cluster/cluster-auth.ts";
import { ALIVE_MS } from "../availability-source.ts";
import type { Bitfield } from "../bitfield.ts";
import type { Layout } from "../layout.ts";
import { HASH_LENGTH, sameHash } from "../piece-hashes.ts";
import { MAX_STRETCH } from "../request-limits.ts";
import { type TimeBounds, timeBounds } from "../time-bounds.ts";
import { PARK_MS } from "../uploader.ts";
import { type AvailabilityLine, HEADER } from "../wire-format.ts";
import { followAvailability } from "./availability.ts";
import type { PeerEndpoint, PeerRequest } from "./connection.ts";
import type { ConnectionPool } from "./connection-pool.ts";
import type { ResponseHead } from "./response-parser.ts";
import {
  asSourceError,
  type FetchedPiece,
  type PieceAsk,
  type PieceSource,
  type SourceChange,
  SourceError,
} from "./source.ts";

/** Requests under way at most, whatever the download's own limits say: each holds a piece at both ends. */
const MAX_DEPTH = MAX_STRETCH;

/** Bytes hashed at once: a call costs as much as some kilobytes, and so many are still in the processor's cache. */
const HASH_STEP = 128 * 1024;

export interface HttpSourceInit {
  readonly kind: "peer" | "seeder";
  readonly endpoint: PeerEndpoint;
  readonly digest: string;
  readonly layout: Layout;
  readonly pool: ConnectionPool;
  /** Signs the requests. @default everybody is a stranger */
  readonly cluster?: ClusterAuth | undefined;
  /** false: requests ask for what anyone may have. @default true */
  readonly asPart?: boolean;
  /** The `Eagle-Peer` header of this download. */
  readonly self: string;
  readonly bounds?: TimeBounds;
}

/** See the module. A seeder chooses the pieces and its hashes are believed; a peer is asked for what it says it has. */
export class HttpSource implements PieceSource {
  readonly name: string;
  readonly kind: "peer" | "seeder";
  readonly depth: number;
  #pieces: Bitfield | undefined;
  #onChange: (change: SourceChange) => void = () => {};
  readonly #stop = new AbortController();
  readonly #init: HttpSourceInit;
  readonly #cluster: ClusterAuth;
  readonly #bounds: TimeBounds;
  /** Of the blob, of the piece that it chooses, of what it has: a URL is dear to make. */
  readonly #urls: { readonly blob: URL; readonly next: URL; readonly pieces: URL };

  constructor(init: HttpSourceInit) {
    this.#init = init;
    this.#cluster = init.cluster ?? new ClusterAuth();
    this.#bounds = init.bounds ?? timeBounds({ downloadTimeout: 30 });
    const scheme = init.endpoint.secure ? "https" : "http";
    const blob = new URL(`${scheme}://${authority(init.endpoint)}/p2p/v1/blobs/${init.digest}`);
    this.#urls = { blob, next: new URL(`${blob}/next`), pieces: new URL(`${blob}/pieces`) };
    this.kind = init.kind;
    this.depth = MAX_DEPTH;
    this.name = authority(init.endpoint);
  }

  get chooses(): boolean {
    return this.kind === "seeder";
  }
  get trusted(): boolean {
    return this.kind === "seeder";
  }
  get pieces(): Bitfield | undefined {
    return this.#pieces;
  }

  start(onChange: (change: SourceChange) => void): void {
    this.#onChange = onChange;
    if (this.chooses) return;
    const { pool, endpoint, self, asPart = true } = this.#init;
    const url = this.#urls.pieces;
    const headers = this.#cluster.headers("GET", url, { asPart });
    headers[HEADER.peer] = self;
    followAvailability(pool, {
      endpoint,
      name: this.name,
      path: url.pathname,
      headers,
      count: this.#init.layout.count,
      onLine: (line) => this.#onLine(line),
      headMs: this.#bounds.firstByteMs,
      // Peers tell each five seconds that their list goes on.
      idleMs: Math.max(2 * ALIVE_MS, this.#bounds.idleMs),
      signal: this.#stop.signal,
    }).catch((error: SourceError) => {
      if (!this.#stop.signal.aborted) this.#onChange({ type: "gone", error });
    });
  }

  async fetch(ask: PieceAsk): Promise<FetchedPiece | undefined> {
    const hash = createHash("sha1");
    let piece = ask.piece;
    let told: Uint8Array | undefined;
    let buffer: Uint8Array | undefined;
    let refusal: SourceError | undefined;
    let counted = 0;
    let hashed = 0;
    const accept = (head: ResponseHead): Uint8Array | undefined => {
      if (head.status === 204 && ask.piece === undefined) return undefined;
      if (head.status !== 206) {
        refusal = new SourceError(head.status === 404 ? "gone" : "failed", `${this.name} answered ${head.status}`);
        return undefined;
      }
      piece = this.#pieceOf(head, ask);
      told = this.#hashOf(head, piece, ask);
      buffer = ask.buffer(piece);
      return buffer;
    };
    try {
      await this.#init.pool.request(this.#init.endpoint, {
        ...this.#message(ask),
        accept,
        onBytes: (received) => {
          ask.onBytes(piece!, received - counted);
          counted = received;
          if (received - hashed < HASH_STEP && received < buffer!.length) return;
          hash.update(buffer!.subarray(hashed, received));
          hashed = received;
        },
        headMs: this.#headMs(ask),
        idleMs: this.#bounds.idleMs,
        signal: ask.signal,
      });
      if (refusal) throw refusal;
      if (!buffer || piece === undefined || !told) return undefined;
      const sha1 = hash.digest();
      if (!sameHash(sha1, told))
        throw new SourceError("liar", `${this.name} sent a piece ${piece} that fails its own hash`);
      const fetched = { piece, bytes: buffer, sha1 };
      buffer = undefined;
      return fetched;
    } catch (cause) {
      throw asSourceError(cause, this.name);
    } finally {
      if (buffer) ask.release(buffer);
    }
  }

  close(): void {
    this.#stop.abort();
  }

  /** One that chooses may wait until it has a piece to give. */
  #headMs({ piece }: PieceAsk): number {
    const { headerMs, firstByteMs } = this.#bounds;
    return piece === undefined ? PARK_MS + Math.min(headerMs, firstByteMs) : headerMs;
  }

  #message({ piece, want, asked }: PieceAsk): Pick<PeerRequest, "method" | "path" | "headers" | "body"> {
    const { layout, self, asPart = true } = this.#init;
    if (piece !== undefined) {
      const url = this.#urls.blob;
      const headers = this.#cluster.headers("GET", url, { asPart });
      headers[HEADER.peer] = self;
      headers.Range = `bytes=${layout.start(piece)}-${layout.end(piece) - 1}`;
      return { method: "GET", path: url.pathname, headers };
    }
    const url = this.#urls.next;
    const headers = this.#cluster.headers("POST", url, { asPart });
    headers[HEADER.peer] = self;
    if (want !== undefined) headers[HEADER.want] = String(want);
    return { method: "POST", path: url.pathname, headers, body: asked.bytes };
  }

  #pieceOf(head: ResponseHead, ask: PieceAsk): number {
    const { layout } = this.#init;
    const piece = ask.piece ?? Number(head.headers.get(HEADER.piece));
    if (!Number.isInteger(piece) || piece < 0 || piece >= layout.count) {
      throw new SourceError("failed", `${this.name} sent a piece that the blob does not have`);
    }
    const range = `bytes ${layout.start(piece)}-${layout.end(piece) - 1}/${layout.size}`;
    if (head.headers.get("content-range") !== range) {
      throw new SourceError("failed", `${this.name} sent another range than ${range}`);
    }
    return piece;
  }

  #hashOf(head: ResponseHead, piece: number, ask: PieceAsk): Uint8Array {
    const text = head.headers.get(HEADER.sha1) ?? "";
    const told = Buffer.from(text, "hex");
    if (told.length !== HASH_LENGTH) throw new SourceError("failed", `${this.name} sent no piece hash`);
    const expected = ask.expected(piece);
    if (expected ? !sameHash(expected, told) : !this.trusted) {
      throw new SourceError("other_list", `${this.name} follows another list of piece hashes`);
    }
    return told;
  }

  #onLine(line: AvailabilityLine): void {
    if (line.type === "have") {
      this.#pieces = line.bits;
      this.#onChange({ type: "reset" });
    } else if (!this.#pieces) {
      return;
    } else if (line.type === "add") {
      this.#onChange({ type: "added", pieces: line.pieces.filter((piece) => this.#pieces!.add(piece)) });
    } else {
      for (const piece of line.pieces) this.#pieces.delete(piece);
      this.#onChange({ type: "reset" });
    }
  }
}

/** Where the server of a URL listens. */
export function endpointOf(url: URL): PeerEndpoint {
  const secure = url.protocol === "https:";
  return { host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port) || (secure ? 443 : 80), secure };
}

export function authority({ host, port }: PeerEndpoint): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
