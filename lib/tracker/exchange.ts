/** @module One bounded HTTP exchange with a tracker: a deadline over all of it and a limit on the answer. */

import type { Readable } from "node:stream";
import { BodyTooLargeError, readBytes } from "../http/read-bytes.ts";
import { TrackerError } from "./errors.ts";

/** The part of lib/http's HttpClient that is needed here. */
export interface TrackerHttp {
  request(
    url: URL,
    init?: {
      method?: string;
      headers?: Record<string, string>;
      body?: Uint8Array;
      signal?: AbortSignal;
      headersTimeoutMs?: number;
    },
  ): Promise<{ status: number; body: Readable }>;
  close(): Promise<void>;
}

/** What is asked, and how long and how much may come back. */
export interface Exchange {
  readonly url: URL;
  readonly method?: "GET" | "POST";
  readonly body?: Uint8Array;
  /** For the whole exchange, ms. */
  readonly timeoutMs: number;
  /** Of the answer's body. */
  readonly maxBytes: number;
  /** Any of them ends the exchange. */
  readonly signals: readonly (AbortSignal | undefined)[];
}

/**
 * Sends a request and reads the whole answer, whatever its status.
 *
 * @throws TrackerError `aborted`, `timeout`, `unreachable`, or `invalid` when the answer is larger than `maxBytes`
 */
export async function exchange(
  http: TrackerHttp,
  { url, method = "GET", body, timeoutMs, maxBytes, signals }: Exchange,
): Promise<{ status: number; body: Uint8Array }> {
  const controller = new AbortController();
  let ended: "timeout" | "aborted" | undefined;
  const end = (why: "timeout" | "aborted") => {
    ended ??= why;
    controller.abort();
  };
  const onAbort = () => end("aborted");
  const timer = setTimeout(end, timeoutMs, "timeout");
  for (const signal of signals) {
    if (signal?.aborted) end("aborted");
    signal?.addEventListener("abort", onAbort, { once: true });
  }
  const where = `tracker ${url.host}`;
  try {
    if (ended !== undefined) throw new TrackerError("aborted", `request to ${where} was given up`);
    const headers: Record<string, string> = { accept: "*/*", "user-agent": "eagle" };
    if (body !== undefined) headers["content-type"] = "application/json";
    const response = await http.request(url, {
      method,
      headers,
      signal: controller.signal,
      headersTimeoutMs: timeoutMs,
      ...(body === undefined ? {} : { body }),
    });
    return { status: response.status, body: await readAll(response.body, controller.signal, maxBytes, where) };
  } catch (error) {
    if (ended === "timeout") {
      throw new TrackerError("timeout", `${where} gave no whole answer in ${timeoutMs} ms`, { cause: error });
    }
    if (error instanceof TrackerError) throw error;
    if (ended === "aborted") throw new TrackerError("aborted", `request to ${where} was given up`, { cause: error });
    throw new TrackerError("unreachable", `${where} cannot be asked`, { cause: error });
  } finally {
    clearTimeout(timer);
    for (const signal of signals) signal?.removeEventListener("abort", onAbort);
  }
}

async function readAll(body: Readable, signal: AbortSignal, maxBytes: number, where: string): Promise<Uint8Array> {
  // A client that forgets the signal once headers are there must not make this wait for ever.
  const onAbort = () => body.destroy(new Error("aborted"));
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await readBytes(body, maxBytes);
  } catch (error) {
    if (!(error instanceof BodyTooLargeError)) throw error;
    throw new TrackerError("invalid", `${where} answered more than ${maxBytes} bytes`, { cause: error });
  } finally {
    signal.removeEventListener("abort", onAbort);
    body.destroy();
  }
}
