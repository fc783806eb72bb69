/**
 * Chunked transfer coding (RFC 9112, 7.1), decoded where it lies: what is data is told by its place, nothing is copied
 * or kept.
 * @module
 */
import { ResponseParseError } from "./response-parser.ts";

/** Hex digits of a chunk's size: 4 GiB less one byte at most. Data is passed on as it comes, whatever the size says. */
const MAX_DIGITS = 8;
/** Bytes of a chunk's extensions. */
const MAX_EXTENSION = 256;
/** Bytes of all trailers. */
const MAX_TRAILERS = 4096;

const LF = 10;
const CR = 13;
const SEMICOLON = 59;

/** Takes data. */
export interface ByteSink {
  /** The bytes from `from` to `to` are data. They are there only during the call. */
  onBytes(bytes: Buffer, from: number, to: number): void;
}

/** What comes next. */
type State =
  /** A digit of a chunk's size. */
  | "size"
  /** What follows the size on its line, and means nothing. */
  | "extension"
  /** The LF of that line. */
  | "size-end"
  | "data"
  /** CR LF behind the data. */
  | "data-cr"
  | "data-lf"
  /** The beginning of a trailer, or the empty line. */
  | "trailer"
  | "trailer-rest"
  | "trailer-lf"
  | "last-lf"
  | "complete";

/** See the module. One body. */
export class ChunkedDecoder {
  #state: State = "size";
  #size = 0;
  #digits = 0;
  /** Bytes of this chunk's extension, or of the trailers. */
  #ignored = 0;

  /** Whether the body is whole. */
  get complete(): boolean {
    return this.#state === "complete";
  }

  /**
   * Takes the bytes from `from` to `to`.
   * @param sink Gets each stretch of data among them.
   * @returns The place behind what belongs to the body: `to` as long as it is not complete.
   * @throws ResponseParseError for anything that is not this coding, or beyond its bounds.
   */
  take(bytes: Buffer, from: number, to: number, sink: ByteSink): number {
    let at = from;
    while (at < to && this.#state !== "complete") {
      if (this.#state === "data") {
        const end = Math.min(to, at + this.#size);
        this.#size -= end - at;
        if (this.#size === 0) this.#state = "data-cr";
        sink.onBytes(bytes, at, end);
        at = end;
      } else {
        this.#state = this.#next(this.#state, bytes[at]!);
        at += 1;
      }
    }
    return at;
  }

  #next(state: Exclude<State, "data" | "complete">, byte: number): State {
    switch (state) {
      case "size":
        return this.#onSize(byte);
      case "extension":
        return byte === CR ? "size-end" : this.#ignore(byte, { most: MAX_EXTENSION, state });
      case "size-end":
        return expect(byte, LF, this.#size === 0 ? "trailer" : "data");
      case "data-cr":
        return expect(byte, CR, "data-lf");
      case "data-lf":
        this.#digits = 0;
        this.#ignored = 0;
        return expect(byte, LF, "size");
      case "trailer":
        return byte === CR ? "last-lf" : this.#ignore(byte, { most: MAX_TRAILERS, state: "trailer-rest" });
      case "trailer-rest":
        return byte === CR ? "trailer-lf" : this.#ignore(byte, { most: MAX_TRAILERS, state });
      case "trailer-lf":
        return expect(byte, LF, "trailer");
      case "last-lf":
        return expect(byte, LF, "complete");
    }
  }

  #onSize(byte: number): State {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      this.#size = this.#digits === 0 ? digit : this.#size * 16 + digit;
      this.#digits += 1;
      if (this.#digits > MAX_DIGITS) throw new ResponseParseError("a chunk of the response is too large");
      return "size";
    }
    if (this.#digits === 0) throw new ResponseParseError("a chunk of the response has no size");
    if (byte === CR) return "size-end";
    if (byte !== SEMICOLON) throw new ResponseParseError("a chunk of the response has a malformed size");
    return "extension";
  }

  #ignore(byte: number, { most, state }: { most: number; state: State }): State {
    if (byte === LF) throw new ResponseParseError("a line of the response's chunks ends in a bare LF");
    this.#ignored += 1;
    if (this.#ignored > most) throw new ResponseParseError("the response's chunks say too much beside their data");
    return state;
  }
}

function expect(byte: number, expected: number, next: State): State {
  if (byte !== expected) throw new ResponseParseError("a chunk of the response does not end where it should");
  return next;
}

/** @returns -1 for anything else. */
function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}
