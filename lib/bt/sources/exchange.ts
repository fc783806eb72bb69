/**
 * One request on a connection and its answer: where the answer's bytes go, and when it is whole.
 * @module
 */
import { type ByteSink, ChunkedDecoder } from "./chunked-decoder.ts";
import { type HeadParser, type ResponseHead, ResponseParseError } from "./response-parser.ts";
import type { Waiting } from "./silence-watch.ts";

/** Bodies of answers that nobody wants (errors) are read up to this many bytes to keep the connection. */
const MAX_DISCARD = 64 * 1024;

/** What all requests have. */
export interface AnyRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Milliseconds to the head of the answer after which the request fails. @default idleMs */
  readonly headMs?: number;
  /** Milliseconds without a byte of the body after which the request fails. */
  readonly idleMs: number;
}

/** A request whose answer is to be in one place. */
export interface PeerRequest extends AnyRequest {
  readonly signal?: AbortSignal;
  /** Where the body goes, decided from the head; undefined discards it. Its length must be the body's. */
  accept(head: ResponseHead): Uint8Array | undefined;
  /** Called as the body grows, with the bytes of it that are in their place. */
  onBytes?(received: number): void;
}

/** A request whose answer is read as it comes, and may have no end. */
export interface StreamRequest extends AnyRequest, ByteSink {
  readonly signal: AbortSignal;
  /** Whatever it throws refuses the answer. */
  onHead(head: ResponseHead): void;
}

/** Takes a body. */
interface BodyReader {
  readonly complete: boolean;
  /** @returns The place behind what belongs to the body. */
  take(bytes: Buffer, from: number, to: number): number;
}

/** What makes a reader of a body when its head is there. */
export type OpenBody = (head: ResponseHead) => BodyReader;

interface ExchangeInit {
  readonly parser: HeadParser;
  readonly open: OpenBody;
  readonly headMs: number;
  readonly idleMs: number;
  /** Called when nothing came for so long. */
  onSilence(): void;
}

/** See the module. */
export class Exchange implements Waiting {
  head: ResponseHead | undefined;
  patienceMs: number;
  heard = false;
  since = 0;
  readonly shortestMs: number;
  readonly onSilence: () => void;
  readonly promise: Promise<ResponseHead>;
  readonly resolve: (head: ResponseHead) => void;
  readonly reject: (error: Error) => void;
  readonly #parser: HeadParser;
  readonly #open: OpenBody;
  readonly #idleMs: number;
  #body: BodyReader | undefined;

  constructor({ parser, open, headMs, idleMs, onSilence }: ExchangeInit) {
    this.patienceMs = headMs;
    this.shortestMs = Math.min(headMs, idleMs);
    this.#idleMs = idleMs;
    this.onSilence = onSilence;
    this.#parser = parser;
    this.#open = open;
    const { promise, resolve, reject } = Promise.withResolvers<ResponseHead>();
    this.promise = promise;
    this.resolve = resolve;
    this.reject = reject;
  }

  /** Whether the answer is whole. */
  get complete(): boolean {
    return this.#body?.complete === true;
  }

  /**
   * Takes the bytes from `from` to `to`.
   * @returns The place behind what belongs to the answer: `to` as long as it is not complete.
   * @throws ResponseParseError, and what the request's functions throw.
   */
  take(bytes: Buffer, from: number, to: number): number {
    if (this.#body) {
      this.heard = true;
      return this.#body.take(bytes, from, to);
    }
    const result = this.#parser.push(bytes, from, to);
    if (!result) return to;
    this.head = result.head;
    this.patienceMs = this.#idleMs;
    this.heard = true;
    this.#body = this.#open(result.head);
    return from + result.consumed;
  }
}

/** A body that goes into one place, or nowhere. */
export class PlacedBody implements BodyReader {
  readonly #target: Uint8Array | undefined;
  readonly #request: PeerRequest;
  readonly #length: number;
  #received = 0;

  /** @throws ResponseParseError for a body that does not fit. */
  constructor(request: PeerRequest, head: ResponseHead) {
    this.#request = request;
    this.#length = head.length;
    this.#target = request.accept(head);
    if (this.#target && this.#target.length !== head.length) {
      throw new ResponseParseError(`the response has ${head.length} bytes where ${this.#target.length} were asked for`);
    }
    if (!this.#target && head.length > MAX_DISCARD) {
      throw new ResponseParseError(`the response ${head.status} has ${head.length} bytes`);
    }
  }

  get complete(): boolean {
    return this.#received === this.#length;
  }

  take(bytes: Buffer, from: number, to: number): number {
    const end = Math.min(to, from + this.#length - this.#received);
    const at = this.#received;
    this.#received += end - from;
    if (this.#target) {
      bytes.copy(this.#target, at, from, end);
      this.#request.onBytes?.(this.#received);
    }
    return end;
  }
}

/** A body that is read as it comes. */
export class StreamedBody implements BodyReader {
  readonly #request: StreamRequest;
  readonly #chunks: ChunkedDecoder | undefined;
  #left: number;

  constructor(request: StreamRequest, head: ResponseHead) {
    request.onHead(head);
    this.#request = request;
    this.#left = head.length;
    this.#chunks = head.framing === "chunked" ? new ChunkedDecoder() : undefined;
  }

  get complete(): boolean {
    return this.#chunks ? this.#chunks.complete : this.#left === 0;
  }

  take(bytes: Buffer, from: number, to: number): number {
    if (this.#chunks) return this.#chunks.take(bytes, from, to, this.#request);
    const end = Math.min(to, from + this.#left);
    this.#left -= end - from;
    this.#request.onBytes(bytes, from, end);
    return end;
  }
}
