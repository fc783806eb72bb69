/**
 * A small, bounded parser for the HTTP/1.1 responses that peers send (RFC 9112): a status line, headers, a body with
 * a Content-Length. Anything unusual is refused: Eagle's peers do not send it. A body that comes as it is made may be
 * chunked, or last as long as its connection, where the asker wants such a one.
 * @module
 */

const MAX_HEAD = 16 * 1024;
/** The empty line that ends a head, and the end of the line before. */
const END_LENGTH = 4;

const LF = 10;
const CR = 13;

/** Status and headers of a response. */
export interface ResponseHead {
  readonly status: number;
  /** Names in lower case; of repeated headers the last one. */
  readonly headers: ReadonlyMap<string, string>;
  /** Bytes of the body; Infinity where only its end will tell. */
  readonly length: number;
  /** What ends the body: its length, the chunked coding, or the end of the connection. */
  readonly framing: "length" | "chunked" | "close";
  /** Whether the connection may be used again. */
  readonly keepAlive: boolean;
}

/** Thrown for bytes that are not such a response. */
export class ResponseParseError extends Error {
  override readonly name = "ResponseParseError";
  readonly code = "protocol";
}

/** Finds the head of a response in arriving bytes, and after it that of the next response. */
export class HeadParser {
  /** What came of a head that was cut, which is seldom. */
  #collected: Uint8Array | undefined;
  #length = 0;
  readonly #isStream: boolean;

  /** @param options.isStream Whether the body may be without a length. */
  constructor({ isStream = false }: { isStream?: boolean } = {}) {
    this.#isStream = isStream;
  }

  /**
   * @param from,to The part of `chunk` that is new: its bytes are there only during the call.
   * @returns The head and how many bytes of the part belong to it; undefined while more is needed.
   * @throws ResponseParseError
   */
  push(chunk: Uint8Array, from = 0, to: number = chunk.length): { head: ResponseHead; consumed: number } | undefined {
    if (this.#collected) return this.#pushMore(this.#collected, chunk, from, to);
    const end = headEnd(chunk, from, Math.min(to, from + MAX_HEAD));
    if (end >= 0) return { head: this.#parse(chunk, from, end), consumed: end + END_LENGTH - from };
    this.#collected = new Uint8Array(MAX_HEAD);
    return this.#pushMore(this.#collected, chunk, from, to);
  }

  #pushMore(
    collected: Uint8Array,
    chunk: Uint8Array,
    from: number,
    to: number,
  ): { head: ResponseHead; consumed: number } | undefined {
    const before = this.#length;
    this.#length = Math.min(MAX_HEAD, before + to - from);
    collected.set(chunk.subarray(from, from + this.#length - before), before);
    const end = headEnd(collected, Math.max(0, before - END_LENGTH + 1), this.#length);
    if (end < 0) {
      if (this.#length === MAX_HEAD) throw new ResponseParseError("the response's head is too large");
      return undefined;
    }
    this.#collected = undefined;
    this.#length = 0;
    return { head: this.#parse(collected, 0, end), consumed: end + END_LENGTH - before };
  }

  #parse(bytes: Uint8Array, from: number, to: number): ResponseHead {
    return parseHead(latin1(bytes, from, to), { isStream: this.#isStream });
  }
}

/** @returns Where CR LF CR LF begins; -1 where it is not. As Boyer and Moore search: most bytes are not looked at. */
function headEnd(bytes: Uint8Array, from: number, to: number): number {
  for (let at = from + END_LENGTH - 1; at < to; ) {
    const byte = bytes[at];
    if (byte === LF) {
      if (bytes[at - 1] === CR && bytes[at - 2] === LF && bytes[at - 3] === CR) return at - 3;
      at += 2;
    } else {
      at += byte === CR ? 1 : END_LENGTH;
    }
  }
  return -1;
}

function latin1(bytes: Uint8Array, from: number, to: number): string {
  const buffer = bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return buffer.toString("latin1", from, to);
}

/** Which characters a header's name may have (RFC 9110, 5.6.2). */
const TOKEN = Uint8Array.from({ length: 256 }, (_, code) =>
  /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(String.fromCharCode(code)) ? 1 : 0,
);

function parseHead(text: string, { isStream }: { isStream: boolean }): ResponseHead {
  let end = endOfLine(text, 0);
  const status = statusOf(text, end);
  const headers = new Map<string, string>();
  while (end < text.length) {
    const at = end + 2;
    end = endOfLine(text, at);
    const colon = text.indexOf(":", at);
    if (colon <= at || colon >= end || !isToken(text, at, colon)) {
      throw new ResponseParseError("the response has a malformed header");
    }
    headers.set(text.slice(at, colon).toLowerCase(), text.slice(colon + 1, end).trim());
  }
  const modern = text[7] === "1";
  const framing = framingOf(status, headers, { isStream, modern });
  const length = framing === "length" ? bodyLength(status, headers) : Number.POSITIVE_INFINITY;
  return { status, headers, length, framing, keepAlive: framing !== "close" && keepAlive(modern, headers) };
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf("\r\n", from);
  return end < 0 ? text.length : end;
}

/** @param end Of the status line. */
function statusOf(text: string, end: number): number {
  const isStatusLine =
    text.startsWith("HTTP/1.") &&
    (text[7] === "0" || text[7] === "1") &&
    text[8] === " " &&
    (end === 12 || (end > 12 && text[12] === " "));
  const status = isStatusLine ? digits(text, 9, 12) : -1;
  if (status < 100 || status >= 600) throw new ResponseParseError("the response has no status line");
  return status;
}

/** @returns -1 where there is anything else. */
function digits(text: string, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) {
    const digit = text.charCodeAt(at) - 48;
    if (!(digit >= 0 && digit <= 9)) return -1;
    value = value * 10 + digit;
  }
  return value;
}

function isToken(text: string, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (TOKEN[text.charCodeAt(at)] !== 1) return false;
  return true;
}

function framingOf(
  status: number,
  headers: ReadonlyMap<string, string>,
  { isStream, modern }: { isStream: boolean; modern: boolean },
): ResponseHead["framing"] {
  const coding = headers.get("transfer-encoding")?.toLowerCase();
  // HTTP/1.0 has no codings, and of two ends nobody knows which is meant (RFC 9112, 6.1 and 6.3).
  if (coding !== undefined && !(isStream && modern && coding === "chunked" && !headers.has("content-length"))) {
    throw new ResponseParseError("the response has a transfer encoding");
  }
  if (isBodiless(status)) return "length";
  if (coding !== undefined) return "chunked";
  return isStream && !headers.has("content-length") ? "close" : "length";
}

function isBodiless(status: number): boolean {
  return status < 200 || status === 204 || status === 304;
}

function bodyLength(status: number, headers: ReadonlyMap<string, string>): number {
  if (isBodiless(status)) return 0;
  const text = headers.get("content-length");
  const length = text === undefined || text === "" || text.length > 15 ? -1 : digits(text, 0, text.length);
  if (length < 0) throw new ResponseParseError("the response has no Content-Length");
  return length;
}

function keepAlive(modern: boolean, headers: ReadonlyMap<string, string>): boolean {
  const connection = headers.get("connection")?.toLowerCase() ?? "";
  return modern ? !connection.includes("close") : connection.includes("keep-alive");
}
