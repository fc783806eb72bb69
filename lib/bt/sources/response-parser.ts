/**
 * A small, bounded parser for the HTTP/1.1 responses that peers send (RFC 9112): a status line, headers, a body with
 * a Content-Length. Chunked bodies and anything else unusual are refused: Eagle's peers do not send them.
 * @module
 */

const MAX_HEAD = 16 * 1024;

/** Status and headers of a response. */
export interface ResponseHead {
  readonly status: number;
  /** Names in lower case; of repeated headers the last one. */
  readonly headers: ReadonlyMap<string, string>;
  /** Bytes of the body. */
  readonly length: number;
  /** Whether the connection may be used again. */
  readonly keepAlive: boolean;
}

/** Thrown for bytes that are not such a response. */
export class ResponseParseError extends Error {
  override readonly name = "ResponseParseError";
  readonly code = "protocol";
}

/** Collects the head of one response out of arriving bytes. */
export class HeadParser {
  #collected = new Uint8Array(0);

  /**
   * @returns The head and how many bytes of `chunk` belong to it; undefined while more is needed.
   * @throws ResponseParseError
   */
  push(chunk: Uint8Array): { head: ResponseHead; consumed: number } | undefined {
    const before = this.#collected.length;
    const joined = new Uint8Array(before + Math.min(chunk.length, MAX_HEAD + 4));
    joined.set(this.#collected);
    joined.set(chunk.subarray(0, joined.length - before), before);
    const end = headEnd(joined, Math.max(0, before - 3));
    if (end < 0) {
      if (joined.length > MAX_HEAD) throw new ResponseParseError("the response's head is too large");
      this.#collected = joined;
      return undefined;
    }
    this.#collected = new Uint8Array(0);
    return { head: parseHead(joined.subarray(0, end)), consumed: end + 4 - before };
  }
}

function headEnd(bytes: Uint8Array, from: number): number {
  for (let index = bytes.indexOf(13, from); index >= 0; index = bytes.indexOf(13, index + 1)) {
    if (bytes[index + 1] === 10 && bytes[index + 2] === 13 && bytes[index + 3] === 10) return index;
  }
  return -1;
}

function parseHead(bytes: Uint8Array): ResponseHead {
  const lines = new TextDecoder("latin1").decode(bytes).split("\r\n");
  const status = /^HTTP\/1\.([01]) ([1-5][0-9]{2})(?: |$)/.exec(lines[0] ?? "");
  if (!status) throw new ResponseParseError("the response has no status line");
  const headers = new Map<string, string>();
  for (const line of lines.slice(1)) {
    const colon = line.indexOf(":");
    if (colon <= 0 || /[^!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(line.slice(0, colon))) {
      throw new ResponseParseError("the response has a malformed header");
    }
    headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  if (headers.has("transfer-encoding")) throw new ResponseParseError("the response has a transfer encoding");
  const code = Number(status[2]);
  return { status: code, headers, length: bodyLength(code, headers), keepAlive: keepAlive(status[1] === "1", headers) };
}

function bodyLength(status: number, headers: ReadonlyMap<string, string>): number {
  if (status < 200 || status === 204 || status === 304) return 0;
  const text = headers.get("content-length");
  if (text === undefined || !/^[0-9]{1,15}$/.test(text)) {
    throw new ResponseParseError("the response has no Content-Length");
  }
  return Number(text);
}

function keepAlive(modern: boolean, headers: ReadonlyMap<string, string>): boolean {
  const connection = headers.get("connection")?.toLowerCase() ?? "";
  return modern ? !connection.includes("close") : connection.includes("keep-alive");
}
