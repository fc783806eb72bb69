/**
 * Follows what a peer has of a blob, as the peer tells it.
 * @module
 */
import { type AvailabilityLine, MAX_LINE, OtherLayoutError, parseLine } from "../wire-format.ts";
import type { PeerEndpoint } from "./connection.ts";
import type { ConnectionPool } from "./connection-pool.ts";
import { asSourceError, SourceError } from "./source.ts";

/** What is followed, and how. */
export interface FollowInit {
  readonly endpoint: PeerEndpoint;
  /** Of the peer, for errors. */
  readonly name: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Pieces of the blob. */
  readonly count: number;
  onLine(line: AvailabilityLine): void;
  /** Longest wait for the head of the answer, ms. */
  readonly headMs: number;
  /** Longest wait for more of it, ms. */
  readonly idleMs: number;
  /** Closes the connection. */
  readonly signal: AbortSignal;
}

/**
 * Calls `onLine` for each line until the stream ends, which is an error: a peer that offers a blob keeps the stream open.
 * @throws SourceError gone (no such blob there), failed, liar (nonsense), other_list, aborted.
 */
export async function followAvailability(pool: Pick<ConnectionPool, "stream">, init: FollowInit): Promise<never> {
  const { endpoint, name, path, headers, headMs, idleMs, signal } = init;
  const lines = new LineReader(init);
  try {
    await pool.stream(endpoint, {
      method: "GET",
      path,
      headers,
      onHead: ({ status }) => {
        if (status !== 200) throw new SourceError("gone", `${name} answered ${status}`);
      },
      onBytes: (bytes, from, to) => lines.take(bytes, from, to),
      headMs,
      idleMs,
      signal,
    });
  } catch (cause) {
    throw asSourceError(cause, name);
  }
  throw new SourceError("gone", `${name} ended its list of pieces`);
}

/** Cuts bytes into lines. */
class LineReader {
  readonly #init: FollowInit;
  /** The beginning of a line whose end is to come. */
  #rest = "";

  constructor(init: FollowInit) {
    this.#init = init;
  }

  /** @throws SourceError */
  take(bytes: Buffer, from: number, to: number): void {
    const text = bytes.toString("latin1", from, to);
    let at = 0;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", at)) {
      const line = this.#rest + text.slice(at, end);
      this.#rest = "";
      at = end + 1;
      if (line !== "") this.#onLine(line);
    }
    if (at < text.length) this.#rest += text.slice(at);
    if (this.#rest.length > MAX_LINE) throw new SourceError("liar", `${this.#init.name} sends an endless line`);
  }

  #onLine(line: string): void {
    const { count, name, onLine, signal } = this.#init;
    // Whoever was told of the line before may have given the peer up.
    if (signal.aborted) return;
    onLine(parse(line, count, name));
  }
}

function parse(line: string, count: number, name: string): AvailabilityLine {
  try {
    return parseLine(line, count);
  } catch (cause) {
    throw new SourceError(
      cause instanceof OtherLayoutError ? "other_list" : "liar",
      `${name}: ${(cause as Error).message}`,
      { cause },
    );
  }
}
