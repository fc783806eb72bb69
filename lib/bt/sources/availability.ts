/**
 * Follows what a peer has of a blob, as the peer tells it.
 * @module
 */
import type { Readable } from "node:stream";
import type { HttpClient } from "../../http/client.ts";
import type { AvailabilityLine } from "../wire-format.ts";
import { MAX_LINE, OtherLayoutError, parseLine } from "../wire-format.ts";
import { SourceError } from "./source.ts";

/**
 * Calls `onLine` for each line until the stream ends, which is an error: a peer that offers a blob keeps the stream open.
 * @throws SourceError gone (no such blob there), failed, liar (nonsense).
 */
export async function followAvailability(
  http: Pick<HttpClient, "request">,
  {
    url,
    headers,
    count,
    onLine,
    headMs,
    signal,
  }: {
    url: URL;
    headers: Record<string, string>;
    count: number;
    onLine(line: AvailabilityLine): void;
    /** Longest wait for the head of the answer, ms. */
    headMs: number;
    signal: AbortSignal;
  },
): Promise<never> {
  let response: Awaited<ReturnType<HttpClient["request"]>>;
  try {
    response = await http.request(url, { headers, signal, headersTimeoutMs: headMs });
  } catch (cause) {
    throw new SourceError("failed", `${url.host}: ${(cause as Error).message}`, { cause });
  }
  if (response.status !== 200) {
    response.body.destroy();
    throw new SourceError("gone", `${url.host} answered ${response.status}`);
  }
  let rest = "";
  const take = (chunk: Buffer) => {
    const text = chunk.toString("latin1");
    rest += text;
    if (rest.length <= MAX_LINE && !text.includes("\n")) return;
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > MAX_LINE) throw new SourceError("liar", `${url.host} sends an endless line`);
    for (const line of lines) if (line !== "") onLine(parse(line, count, url));
  };
  try {
    await consume(response.body, take);
  } catch (cause) {
    if (cause instanceof SourceError) throw cause;
    throw new SourceError("failed", `${url.host}: ${(cause as Error).message}`, { cause });
  } finally {
    response.body.destroy();
  }
  throw new SourceError("gone", `${url.host} ended its list of pieces`);
}

/** By events: lines come a hundred times a second from each peer, and an iterator costs some promises each. */
function consume(body: Readable, take: (chunk: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    body.on("error", reject);
    body.on("close", () => resolve());
    body.on("end", () => resolve());
    body.on("data", (chunk: Buffer) => {
      try {
        take(chunk);
      } catch (error) {
        reject(error);
      }
    });
  });
}

function parse(line: string, count: number, url: URL): AvailabilityLine {
  try {
    return parseLine(line, count);
  } catch (cause) {
    throw new SourceError(
      cause instanceof OtherLayoutError ? "other_list" : "liar",
      `${url.host}: ${(cause as Error).message}`,
      { cause },
    );
  }
}
