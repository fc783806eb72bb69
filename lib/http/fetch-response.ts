/**
 * @module
 * Writes a fetch `Response` to a Node response: at the client's pace, whole or visibly broken.
 */

import { type Exchange, isHttp2, resetExchange } from "./connections.ts";
import { type BodySource, bodySource } from "./direct-body.ts";
import { giveBack } from "./lent-chunk.ts";

/** Headers that belong to a connection (RFC 9110, 7.6.1), which the listener decides about. */
const HOP_BY_HOP = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"]);

/** Longest piece handed to an HTTP/2 stream at once: its send timeout sees progress per piece. Bytes. */
const H2_SLICE = 64 * 1024;

/**
 * Sends `response`. Resolves when the whole body is queued on the connection or the client has gone; never rejects.
 * The body is cancelled when `signal` (the client's) aborts, and when it cannot be sent (HEAD, 204, 304).
 *
 * @param onError told of a body that failed; the connection or stream has been reset then
 */
export async function sendResponse(
  exchange: Exchange,
  response: Response,
  { signal, onError }: { signal: AbortSignal; onError: (error: unknown) => void },
): Promise<void> {
  const { req, res } = exchange;
  try {
    const direct = bodySource(response);
    const body = direct ? null : response.body;
    const bodiless = req.method === "HEAD" || response.status === 204 || response.status === 304;
    if (signal.aborted || bodiless || (body === null && !direct)) {
      direct?.cancel();
      body?.cancel(signal.reason).catch(() => {});
      if (!signal.aborted) {
        writeHead(exchange, response);
        res.end();
      }
      return;
    }
    await sendBody(exchange, response, direct ?? readerSource(body!.getReader()), {
      signal,
      // Where the first chunk is at hand, head and chunk go out together.
      flushEarly: !direct || direct.mayWait === true,
    });
  } catch (error) {
    if (!signal.aborted) {
      resetExchange(exchange);
      onError(error);
    }
  }
}

async function sendBody(
  exchange: Exchange,
  response: Response,
  source: BodySource,
  { signal, flushEarly }: { signal: AbortSignal; flushEarly: boolean },
): Promise<void> {
  const { res } = exchange;
  const sink = new Sink(exchange, signal);
  let ended = false;
  const pull = async () => {
    try {
      const chunk = await source.pull();
      if (chunk === undefined) ended = true;
      return chunk;
    } catch (error) {
      ended = true;
      throw error;
    }
  };
  const onAbort = () => {
    if (ended) return;
    ended = true;
    source.cancel();
  };
  signal.addEventListener("abort", onAbort);
  try {
    writeHead(exchange, response);
    const declared = response.headers.get("content-length");
    const expected = declared === null ? undefined : Number(declared);
    let sent = 0;
    let next = pull();
    if (flushEarly && !(await settlesSoon(next))) {
      // The headers do not wait for a body that is still on its way.
      flushHead(exchange);
    }
    for (;;) {
      const value = await next;
      if (value === undefined || signal.aborted) {
        break;
      }
      // The next chunk is read while this one is sent.
      next = pull();
      next.catch(() => {});
      if (flushEarly && expected === undefined && !res.headersSent && (await endsSoon(next))) {
        res.setHeader("content-length", value.byteLength);
      }
      sent += value.byteLength;
      if (expected !== undefined && sent > expected) {
        throw new Error(`the body is longer than its Content-Length of ${expected}`);
      }
      await sink.write(value);
    }
    if (signal.aborted) {
      return;
    }
    if (expected !== undefined && sent !== expected) {
      throw new Error(`the body ended at ${sent} of ${expected} bytes`);
    }
    res.end();
  } catch (error) {
    onAbort();
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function readerSource(reader: ReadableStreamDefaultReader<Uint8Array>): BodySource {
  return {
    pull: async () => (await reader.read()).value,
    cancel: () => {
      reader.cancel().catch(() => {});
    },
  };
}

/** Writes chunks without copying, and waits while the client does not take them. */
class Sink {
  readonly #exchange: Exchange;
  readonly #signal: AbortSignal;

  constructor(exchange: Exchange, signal: AbortSignal) {
    this.#exchange = exchange;
    this.#signal = signal;
  }

  async write(chunk: Uint8Array): Promise<void> {
    const { req } = this.#exchange;
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const step = isHttp2(req) ? H2_SLICE : bytes.length;
    for (let at = 0; at < bytes.length && !this.#signal.aborted; at += step) {
      const last = at + step >= bytes.length;
      if (!this.#push(bytes.subarray(at, at + step), last ? () => giveBack(chunk) : undefined)) {
        await this.#drained();
      }
    }
  }

  /** `onSent` is called when the kernel has the bytes, and not when sending failed. */
  #push(bytes: Buffer, onSent: (() => void) | undefined): boolean {
    const { res } = this.#exchange;
    const done = onSent && ((error?: Error | null) => (error ? undefined : onSent()));
    // Both kinds have this method; their union has no common signature.
    return (res as { write(chunk: Uint8Array, done?: (error?: Error | null) => void): boolean }).write(bytes, done);
  }

  #drained(): Promise<void> {
    const { res } = this.#exchange;
    const signal = this.#signal;
    return new Promise((resolve) => {
      const done = () => {
        res.removeListener("drain", done);
        res.removeListener("close", done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      res.on("drain", done);
      res.on("close", done);
      signal.addEventListener("abort", done);
    });
  }
}

function writeHead({ req, res }: Exchange, response: Response): void {
  res.statusCode = response.status;
  if (!isHttp2(req)) {
    if (response.statusText !== "") {
      res.statusMessage = response.statusText;
    }
    if (response.headers.get("connection")?.toLowerCase() === "close" || isLongUnread(req)) {
      res.setHeader("connection", "close");
    }
  }
  for (const [name, value] of response.headers) {
    if (name !== "set-cookie" && !HOP_BY_HOP.has(name)) {
      res.setHeader(name, value);
    }
  }
  const cookies = response.headers.getSetCookie();
  if (cookies.length > 0) {
    res.setHeader("set-cookie", cookies);
  }
}

function flushHead({ res }: Exchange): void {
  if ("flushHeaders" in res) {
    (res as { flushHeaders(): void }).flushHeaders();
  } else {
    res.writeHead(res.statusCode);
  }
}

/** Whether the rest of a body that nobody read is too long to be swallowed for the sake of the connection. */
function isLongUnread(req: Exchange["req"]): boolean {
  if (req.complete) {
    return false;
  }
  const length = req.headers["content-length"];
  return req.headers["transfer-encoding"] !== undefined || Number(length ?? 0) > 64 * 1024;
}

/** Whether the stream has ended, as far as one turn of the event loop tells. A failure counts as no. */
async function endsSoon(next: Promise<Uint8Array | undefined>): Promise<boolean> {
  return (await settlesSoon(next)) && (await next.then((chunk) => chunk === undefined).catch(() => false));
}

/** Resolves after one turn of the event loop, or sooner, with whether the promise has settled. */
function settlesSoon(promise: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve) => {
    const immediate = setImmediate(() => resolve(false));
    const settled = () => {
      clearImmediate(immediate);
      resolve(true);
    };
    promise.then(settled, settled);
  });
}
