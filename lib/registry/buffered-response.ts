/**
 * Responses that are put aside while something else is tried.
 * @module
 */
import { Readable } from "node:stream";
import type { HttpResponse } from "../http/client.ts";

const maxBytes = 64 * 1024;

/**
 * Reads the body of an error response into memory, so that its connection is free while the token flow runs, and it
 * can still be handed out. A body longer than 64 KiB, or one that breaks, is cut there.
 */
export async function replayable(response: HttpResponse): Promise<HttpResponse> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > maxBytes) break;
    }
  } catch {
    // The status and its challenge are what matters; of the text we keep what came.
  }
  const body = Buffer.concat(chunks).subarray(0, maxBytes);
  const headers = new Headers(response.headers);
  // A HEAD has a Content-Length and no body: then it must stay as it was.
  if (body.length > 0) headers.set("content-length", String(body.length));
  return { ...response, headers, body: Readable.from(body.length === 0 ? [] : [body]) };
}
