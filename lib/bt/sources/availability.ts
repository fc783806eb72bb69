/**
 * Follows what a peer has of a blob, as the peer tells it.
 * @module
 */
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
    signal,
  }: {
    url: URL;
    headers: Record<string, string>;
    count: number;
    onLine(line: AvailabilityLine): void;
    signal: AbortSignal;
  },
): Promise<never> {
  let response: Awaited<ReturnType<HttpClient["request"]>>;
  try {
    response = await http.request(url, { headers, signal, headersTimeoutMs: 5000 });
  } catch (cause) {
    throw new SourceError("failed", `${url.host}: ${(cause as Error).message}`, { cause });
  }
  if (response.status !== 200) {
    response.body.destroy();
    throw new SourceError("gone", `${url.host} answered ${response.status}`);
  }
  let rest = "";
  try {
    for await (const chunk of response.body) {
      const text = (chunk as Buffer).toString("latin1");
      rest += text;
      if (rest.length <= MAX_LINE && !text.includes("\n")) continue;
      const lines = rest.split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > MAX_LINE) throw new SourceError("liar", `${url.host} sends an endless line`);
      for (const line of lines) if (line !== "") onLine(parse(line, count, url));
    }
  } catch (cause) {
    if (cause instanceof SourceError) throw cause;
    throw new SourceError("failed", `${url.host}: ${(cause as Error).message}`, { cause });
  } finally {
    response.body.destroy();
  }
  throw new SourceError("gone", `${url.host} ended its list of pieces`);
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
