/**
 * @module
 * Reads HTTP/1.1 requests of the plainest kind (RFC 9112): whole in one piece of bytes, with headers of a given set, none
 * of them twice. Whatever is not such a request is no error here: a general parser looks at the same bytes then.
 */

/** A request, whole. */
export interface PlainRequest {
  readonly method: "GET" | "POST";
  /** Origin-form, as sent. */
  readonly target: string;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** A view of the bytes that were read. */
  readonly body: Uint8Array;
}

/** Longer heads are left to others, bytes. */
const MAX_HEAD = 4096;
const LINE_END = "\r\n";
const HEAD_END = Buffer.from("\r\n\r\n", "latin1");

/**
 * @param names Headers that such a request may have, in lower case, beside `Host`, `Content-Length` and
 *   `Connection: keep-alive`.
 * @returns undefined for anything else: what is incomplete, longer, pipelined or unusual.
 */
export function readPlainRequest(bytes: Buffer, names: ReadonlySet<string>): PlainRequest | undefined {
  const end = bytes.indexOf(HEAD_END);
  if (end < 0 || end > MAX_HEAD) return undefined;
  const head = bytes.toString("latin1", 0, end);
  const first = head.indexOf(LINE_END);
  if (first < 0) return undefined;
  const method = head.startsWith("GET /") ? "GET" : head.startsWith("POST /") ? "POST" : undefined;
  const target = method && head.slice(method.length + 1, first - VERSION.length);
  if (!target || !head.startsWith(VERSION, first - VERSION.length) || !isVisible(target)) return undefined;
  const headers = readHeaders(head, first + LINE_END.length, names);
  if (!headers?.has("host")) return undefined;
  const length = headers.get("content-length") ?? "0";
  const body = bytes.subarray(end + HEAD_END.length);
  if (String(body.length) !== length || (method === "GET" && body.length > 0)) return undefined;
  return { method, target, headers, body };
}

/** Connection says no more than HTTP/1.1 does already. */
const ALWAYS = new Set(["host", "content-length", "connection"]);
const VERSION = " HTTP/1.1";

function readHeaders(head: string, from: number, names: ReadonlySet<string>): Map<string, string> | undefined {
  const headers = new Map<string, string>();
  for (let at = from; at < head.length; ) {
    const next = head.indexOf(LINE_END, at);
    const end = next < 0 ? head.length : next;
    const colon = head.indexOf(": ", at);
    if (colon < 0 || colon >= end) return undefined;
    const name = head.slice(at, colon).toLowerCase();
    const value = head.slice(colon + 2, end);
    const isKnown = ALWAYS.has(name) || names.has(name);
    if (!isKnown || headers.has(name) || !isText(value)) return undefined;
    if (name === "connection" && value.toLowerCase() !== "keep-alive") return undefined;
    headers.set(name, value);
    at = end + LINE_END.length;
  }
  return headers;
}

/** Visible ASCII alone. */
function isVisible(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code <= 0x20 || code >= 0x7f) return false;
  }
  return true;
}

/** A field value in ASCII without blanks around it. */
function isText(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code < 0x20 || code >= 0x7f) return false;
  }
  return text.length > 0 && text[0] !== " " && text[text.length - 1] !== " ";
}
