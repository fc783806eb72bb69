/**
 * Reading a blob from an origin to its end, whatever happens on the way.
 * @module
 */
import type { Readable } from "node:stream";
import type { HttpResponse } from "../http/client.ts";
import { parseContentRange } from "./content-range.ts";
import { RegistryError, registryErrorCode } from "./errors.ts";
import { contentLength, discard } from "./redirects.ts";
import { pause, toRegistryError } from "./transport-error.ts";

/** A blob, or a part of one, that is being read. */
export interface BlobRead {
  /** Bytes of the whole blob; undefined as long as the origin has not told (a chunked 200 tells at its end). */
  readonly size: number | undefined;
  /** The origin answered 206 so far: more ranges may be asked in parallel. */
  readonly ranged: boolean;
  /**
   * Exactly the bytes [start, end), or to the end of the blob when that comes first. To be iterated once; leaving the
   * loop ends the request. Throws RegistryError.
   */
  readonly body: AsyncIterable<Uint8Array>;
  /** Ends the request; needed only when `body` is never iterated. */
  close(): void;
}

/** How to read. */
export interface BlobReadInit {
  /** Sends one GET for the blob with these further headers; the first answer of a registry, redirects done. */
  send: (init: {
    headers: Record<string, string>;
    signal: AbortSignal;
    headersTimeoutMs: number;
  }) => Promise<HttpResponse>;
  /** Which blob of whom, for messages. */
  what: string;
  /** First byte. @default 0 */
  start?: number;
  /** Exclusive. @default the end of the blob */
  end?: number;
  /** When the origin does not honour Range, read on to the end of the blob: `end` was a guess. @default false */
  wholeUnlessRanged?: boolean;
  signal?: AbortSignal;
  /** An origin that sends no byte for so long is asked anew, once. @default 30000 */
  progressTimeoutMs?: number;
  /** The same for the head of an answer. @default progressTimeoutMs */
  headersTimeoutMs?: number;
  /** The first silence, of either kind, is at most so long: a connection that has died is soon found out. @default none */
  firstStallMs?: number;
  /** For the jitter of the pauses between attempts. @default Math.random */
  random?: () => number;
}

/** Attempts in a row that brought less than {@link minProgress} each; the pauses before them. */
const pausesMs: readonly number[] = [0, 200, 500, 1000, 2000];
/** An origin that sends a few bytes and cuts, again and again, must not keep us for ever. */
const minProgress = 64 * 1024;
const maxStalls = 1;
const retriable: ReadonlySet<string> = new Set(["unavailable", "timeout", "rate_limited"]);

/**
 * Asks for the blob and resolves when the origin has begun to answer.
 * @throws RegistryError
 */
export async function openBlobRead(init: BlobReadInit): Promise<BlobRead> {
  const { start = 0, end } = init;
  if (!Number.isSafeInteger(start) || start < 0 || (end !== undefined && !(Number.isSafeInteger(end) && end > start))) {
    throw new RangeError(`not a range of bytes: [${start}, ${end})`);
  }
  const reader = new BlobReader(init);
  try {
    await reader.begin();
  } catch (error) {
    reader.close();
    throw error;
  }
  return reader;
}

class BlobReader implements BlobRead {
  readonly body: AsyncIterable<Uint8Array>;
  readonly #init: BlobReadInit;
  readonly #progressTimeoutMs: number;
  readonly #headersTimeoutMs: number;
  /** Attempts that ended in silence. */
  #stalls = 0;
  readonly #controller = new AbortController();
  readonly #first: number;
  /** Offset of the byte that is to be given out next. */
  #position: number;
  /** Offset after the last byte wanted; undefined: the end of the blob. */
  #end: number | undefined;
  #size: number | undefined;
  #ranged = false;
  /** Undefined between two attempts. */
  #response: Readable | undefined;
  /** Bytes of the response before `#position`. */
  #skip = 0;
  /** Offset after the last byte of the response; undefined: the response ends the blob wherever it ends. */
  #responseEnd: number | undefined;
  /** The response has a Content-Length. */
  #delimited = false;
  /** An attempt in which the origin would not hear of Range. */
  #withoutRange = false;

  constructor(init: BlobReadInit) {
    this.#init = init;
    this.#first = init.start ?? 0;
    this.#position = this.#first;
    this.#end = init.end;
    this.#progressTimeoutMs = init.progressTimeoutMs ?? 30_000;
    this.#headersTimeoutMs = init.headersTimeoutMs ?? this.#progressTimeoutMs;
    const bytes = this.#read();
    this.body = {
      [Symbol.asyncIterator]: () => ({
        next: () => bytes.next(),
        // close() first: a generator would let go only after the chunk it is waiting for.
        return: () => {
          this.close();
          return bytes.return();
        },
      }),
    };
    const { signal } = init;
    if (signal?.aborted) this.#controller.abort(signal.reason);
    else signal?.addEventListener("abort", this.#abort, { once: true });
  }

  get size(): number | undefined {
    return this.#size;
  }

  get ranged(): boolean {
    return this.#ranged;
  }

  close(): void {
    this.#init.signal?.removeEventListener("abort", this.#abort);
    this.#controller.abort(new RegistryError("aborted", `${this.#init.what}: closed`));
    this.#response?.destroy();
    this.#response = undefined;
  }

  readonly #abort = (): void => {
    this.#controller.abort(this.#init.signal?.reason);
    this.#response?.destroy(new RegistryError("aborted", `${this.#init.what}: the caller left`));
  };

  /** The first request, sent once more when the origin keeps silent. */
  async begin(): Promise<void> {
    try {
      await this.#open();
    } catch (error) {
      if (!(error instanceof RegistryError) || error.code !== "timeout" || ++this.#stalls > maxStalls) throw error;
      await this.#open();
    }
  }

  /** How long the origin may be silent now, ms. */
  #patience(ms: number): number {
    return this.#stalls > 0 ? ms : Math.min(ms, this.#init.firstStallMs ?? ms);
  }

  /** One request from `#position` on; sets what describes its response. */
  async #open(): Promise<void> {
    const { send, what } = this.#init;
    const end = this.#end;
    const signal = this.#controller.signal;
    const range = `bytes=${this.#position}-${end === undefined ? "" : end - 1}`;
    let response: HttpResponse;
    try {
      // No If-Range: the digest names the bytes, and an ETag may differ between the CDN hosts of two redirects.
      response = await send({
        headers: { "accept-encoding": "identity", ...(this.#withoutRange ? {} : { range }) },
        signal,
        headersTimeoutMs: this.#patience(this.#headersTimeoutMs),
      });
    } catch (error) {
      throw toRegistryError(error, what, signal);
    }
    // An error while nobody reads must not become an uncaught one; the reader finds it at its next read.
    response.body.on("error", () => {});
    try {
      if (await this.#accept(response)) this.#response = response.body;
    } catch (error) {
      discard(response);
      throw error;
    }
    if (signal.aborted) {
      response.body.destroy();
      throw toRegistryError(signal.reason, what, signal);
    }
  }

  /** @returns false when the response has no bytes for us */
  async #accept(response: HttpResponse): Promise<boolean> {
    const { status, headers } = response;
    const position = this.#position;
    this.#delimited = contentLength(headers) !== undefined;
    const range = parseContentRange(headers.get("content-range"));
    if (status === 206) {
      if (range?.start === undefined || range.start > position || range.end <= position) {
        throw this.#error(
          "protocol",
          `206 with Content-Range ${headers.get("content-range")} for ${position}-`,
          status,
        );
      }
      this.#learnSize(range.size);
      this.#ranged = true;
      this.#skip = position - range.start;
      this.#responseEnd = range.end;
      return true;
    }
    if (status === 200) {
      // A Content-Encoding is passed over: stores keep one as a mere label of bytes that are as the digest wants them.
      this.#learnSize(contentLength(headers));
      if (this.#size !== undefined && this.#size < position) throw this.#error("range", "starts after its end", status);
      this.#ranged = false;
      if (this.#init.wholeUnlessRanged) this.#end = undefined;
      this.#skip = position;
      this.#responseEnd = this.#size;
      return true;
    }
    if (status === 416) return this.#acceptUnsatisfiable(response, range?.size);
    const challenge = headers.get("www-authenticate");
    throw this.#error(registryErrorCode(status), `the origin answered ${status}`, status, challenge ?? undefined);
  }

  async #acceptUnsatisfiable(response: HttpResponse, size: number | undefined): Promise<boolean> {
    const { status } = response;
    if (size !== undefined && size === this.#position && (size === 0 || this.#position > this.#first)) {
      // The end, told by a refusal: an empty blob, or one whose size was unknown.
      this.#learnSize(size);
      discard(response);
      return false;
    }
    if (this.#position === 0 && !this.#withoutRange) {
      // `bytes=0-` always fits, except for an empty blob: an origin that is at odds with Range.
      discard(response);
      this.#withoutRange = true;
      await this.#open();
      return false;
    }
    if (this.#position > this.#first) {
      if (this.#size !== undefined || size !== undefined) throw this.#error("changed", "it has become shorter", status);
      this.#learnSize(this.#position);
      discard(response);
      return false;
    }
    throw this.#error("range", "starts after its end", status);
  }

  #learnSize(size: number | undefined): void {
    if (size === undefined) return;
    if (this.#size !== undefined && this.#size !== size) {
      throw this.#error("changed", `its size was ${this.#size} and is now ${size}`);
    }
    if (size < this.#position && this.#position > this.#first) {
      throw this.#error("changed", `its size is ${size}, and ${this.#position} bytes were read`);
    }
    this.#size = size;
  }

  async *#read(): AsyncGenerator<Uint8Array, void, undefined> {
    let failures = 0;
    let mark = this.#position;
    try {
      while (!this.#finished()) {
        let failure: RegistryError;
        try {
          if (this.#response === undefined) await this.#open();
          yield* this.#readResponse();
          if (this.#finished()) return;
          failure = this.#error("unavailable", `the body ended at byte ${this.#position}`);
        } catch (error) {
          if (this.#finished()) return;
          failure = toRegistryError(error, this.#init.what, this.#controller.signal);
          if (!retriable.has(failure.code)) throw failure;
        }
        // An origin without Range sends all again each time: there progress pays for no further attempts.
        if (this.#ranged && this.#position - mark >= minProgress) {
          failures = 0;
          this.#stalls = 0;
          mark = this.#position;
        }
        if (failure.code === "timeout") this.#stalls++;
        const pauseMs = pausesMs[failures];
        failures++;
        if (pauseMs === undefined || this.#stalls > maxStalls) throw failure;
        if (pauseMs > 0) await pause(pauseMs * (0.5 + (this.#init.random ?? Math.random)()), this.#controller.signal);
      }
    } finally {
      this.close();
    }
  }

  #finished(): boolean {
    const end = this.#end;
    return (end !== undefined && this.#position >= end) || (this.#size !== undefined && this.#position >= this.#size);
  }

  /** Gives out the bytes of the present response; returns at its end, or when no more of it is wanted. */
  async *#readResponse(): AsyncGenerator<Uint8Array, void, undefined> {
    const response = this.#response;
    if (response === undefined) return;
    const { what } = this.#init;
    const patienceMs = this.#patience(this.#progressTimeoutMs);
    const limit = Math.min(this.#end ?? Number.POSITIVE_INFINITY, this.#responseEnd ?? Number.POSITIVE_INFINITY);
    let waiting = true;
    // Runs only while we wait for the origin: a slow reader is no fault of it.
    const onStall = () => {
      if (!waiting) return;
      response.destroy(new RegistryError("timeout", `${what}: no byte for ${patienceMs} ms`));
    };
    let timer = setTimeout(onStall, patienceMs);
    try {
      for await (const chunk of response as AsyncIterable<Uint8Array>) {
        waiting = false;
        const skipped = Math.min(this.#skip, chunk.length);
        this.#skip -= skipped;
        const wanted = chunk.subarray(skipped, Math.min(chunk.length, skipped + (limit - this.#position)));
        if (wanted.length > 0) {
          this.#position += wanted.length;
          yield wanted;
        }
        // A response whose last byte has been read is let end by itself: its connection can be used again then.
        if (this.#position >= limit && !(this.#delimited && limit === this.#responseEnd)) return;
        waiting = true;
        clearTimeout(timer);
        timer = setTimeout(onStall, patienceMs);
      }
      if (this.#responseEnd === undefined) {
        if (this.#skip > 0) throw this.#error("range", "starts after its end");
        this.#learnSize(this.#position);
      }
    } finally {
      clearTimeout(timer);
      response.destroy();
      this.#response = undefined;
    }
  }

  #error(code: RegistryError["code"], text: string, status?: number, challenge?: string): RegistryError {
    return new RegistryError(code, `${this.#init.what}: ${text}`, {
      ...(status === undefined ? {} : { status }),
      ...(challenge === undefined ? {} : { challenge }),
    });
  }
}
