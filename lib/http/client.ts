/**
 * @module
 * The upstream HTTP client: HTTP/1.1 on keep-alive connections, one behaviour on Node and Deno.
 *
 * It is built on node:http and node:https, never follows a redirect, never decodes a body, and ignores the proxy
 * variables of the environment: a host set up for dockerd must not feed Eagle into itself.
 */

import http from "node:http";
import https from "node:https";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import { HttpClientError, isOutOfDescriptors, toClientError } from "./client-error.ts";
import { afterPatience } from "./patience.ts";
import { ResponseBody } from "./response-body.ts";

export { HttpClientError, type HttpClientErrorCode } from "./client-error.ts";

/** An answer whose headers have arrived. */
export interface HttpResponse {
  status: number;
  headers: Headers;
  /**
   * The body as it was sent. The caller reads it to its end or calls `destroy()`, which closes the connection; only a
   * body read to its end gives its connection back. Fails with HttpClientError ("reset", "timeout", "aborted").
   */
  body: Readable;
}

/** Options of {@link HttpClient}. Durations are milliseconds, the first two as patience.ts counts them. */
export interface HttpClientOptions {
  /** Longest wait for a TCP (and TLS) connection. @default 5000 */
  connectTimeoutMs?: number;
  /** Longest wait from the start of a request to the headers of its answer. @default 30000 */
  headersTimeoutMs?: number;
  /** Longest wait for the next byte of a body while the reader wants one. @default 30000 */
  idleTimeoutMs?: number;
  /** Most connections to one host; further requests queue, within their headers timeout. @default 256 */
  maxSockets?: number;
  /** One of the three waits reached its bound. */
  onTimeout?(bound: "dial" | "header" | "idle"): void;
}

/** Options of one request. */
export interface HttpRequestInit {
  /** @default "GET" */
  method?: string;
  headers?: Record<string, string>;
  /** A stream is consumed, and destroyed when the request fails. It is sent chunked unless `content-length` is given. */
  body?: Uint8Array | Readable;
  /** Cancels the request at any time, its body included. */
  signal?: AbortSignal;
  /** PEM text of the certificate authorities to trust instead of the runtime's own. */
  ca?: string;
  /** PEM texts of the certificate to show when the server asks for one, and of its key. */
  certificate?: { readonly cert: string; readonly key: string };
  /** Overrides the client's `headersTimeoutMs`. */
  headersTimeoutMs?: number;
}

const MAX_HEADER_BYTES = 64 * 1024;
/** Between two looks for a free file descriptor, ms. */
const DESCRIPTOR_WAIT_MS = 50;
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

/**
 * HTTP/1.1 client with its own connection pools.
 *
 * @example
 * const { status, body } = await client.request(new URL("http://127.0.0.1:5000/v2/"), { signal });
 */
export class HttpClient {
  readonly #connectTimeoutMs: number;
  readonly #headersTimeoutMs: number;
  readonly #idleTimeoutMs: number;
  readonly #onTimeout: (bound: "dial" | "header" | "idle") => void;
  readonly #http: http.Agent;
  readonly #https: https.Agent;
  readonly #running = new Set<() => void>();
  #closed = false;

  constructor({
    connectTimeoutMs = 5_000,
    headersTimeoutMs = 30_000,
    idleTimeoutMs = 30_000,
    maxSockets = 256,
    onTimeout = () => {},
  }: HttpClientOptions = {}) {
    this.#connectTimeoutMs = connectTimeoutMs;
    this.#headersTimeoutMs = headersTimeoutMs;
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#onTimeout = onTimeout;
    const pool = { keepAlive: true, maxSockets, maxFreeSockets: 32, keepAliveMsecs: 10_000 };
    this.#http = new http.Agent(pool);
    this.#https = new https.Agent(pool);
  }

  /**
   * Sends a request and resolves with the answer's headers, whatever its status.
   *
   * A request that fails on a kept connection before any byte of an answer is sent once more on a new one, if its method
   * is idempotent and its body can be repeated. (Deno's own node:http does so for any method.) Where this process may open
   * nothing more, one whose body can be repeated waits for a descriptor, for as long as a connection may take.
   *
   * @throws HttpClientError
   */
  async request(url: URL, init: HttpRequestInit = {}): Promise<HttpResponse> {
    const patience = performance.now() + this.#connectTimeoutMs;
    for (let fresh = false; ; ) {
      try {
        return await this.#attempt(url, init, { fresh });
      } catch (error) {
        if (error instanceof StaleConnection) fresh = true;
        else if (isOutOfDescriptors(error) && !isStream(init.body) && performance.now() < patience) {
          this.#dropIdle();
          await new Promise((resolve) => setTimeout(resolve, DESCRIPTOR_WAIT_MS));
        } else throw error;
      }
    }
  }

  /** Gives up connections that are kept for later requests. */
  #dropIdle(): void {
    for (const agent of [this.#http, this.#https]) {
      for (const sockets of Object.values(agent.freeSockets ?? {}))
        for (const socket of sockets ?? []) socket.destroy();
    }
  }

  /** Closes every connection; running requests and bodies fail with code "aborted", and later ones at once. */
  close(): Promise<void> {
    this.#closed = true;
    for (const abort of this.#running) {
      abort();
    }
    this.#http.destroy();
    this.#https.destroy();
    return Promise.resolve();
  }

  #attempt(url: URL, init: HttpRequestInit, { fresh }: { fresh: boolean }): Promise<HttpResponse> {
    const { method = "GET", headers = {}, body, signal, ca, certificate } = init;
    const what = `${method} ${url.protocol}//${url.host}${url.pathname}`;
    if (this.#closed || signal?.aborted) {
      discard(body);
      return Promise.reject(new HttpClientError("aborted", `${what}: aborted`, { cause: signal?.reason }));
    }
    const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>();
    let request: http.ClientRequest;
    try {
      request = this.#open(url, { method, headers, body, ca, certificate, fresh });
    } catch (cause) {
      discard(body);
      return Promise.reject(
        new HttpClientError("protocol", `${what}: invalid request: ${messageOf(cause)}`, { cause }),
      );
    }

    let connected = false;
    let answer: ResponseBody | undefined;
    let endConnectWait = () => {};

    const fail = (error: unknown) => {
      clearTimers();
      if (answer !== undefined) {
        answer.destroy(toClientError(error, { connected: true, what }));
        return;
      }
      const stale = !fresh && request.reusedSocket && isConnectionLoss(error);
      reject(
        stale && IDEMPOTENT.has(method) && !isStream(body)
          ? new StaleConnection()
          : toClientError(error, { connected, what }),
      );
      unlisten();
      discard(body);
      request.destroy();
    };
    const onAbort = () => fail(new HttpClientError("aborted", `${what}: aborted`, { cause: signal?.reason }));
    const unlisten = () => {
      signal?.removeEventListener("abort", onAbort);
      this.#running.delete(onAbort);
    };
    const headersMs = init.headersTimeoutMs ?? this.#headersTimeoutMs;
    const late = (bound: "dial" | "header", text: string) => {
      this.#onTimeout(bound);
      fail(new HttpClientError("timeout", `${what}: ${text}`));
    };
    const endHeadersWait = afterPatience(headersMs, () => late("header", `no answer within ${headersMs} ms`));
    const clearTimers = () => {
      endHeadersWait();
      endConnectWait();
    };
    signal?.addEventListener("abort", onAbort);
    this.#running.add(onAbort);

    request.on("socket", (socket: Socket) => {
      if (!socket.connecting) {
        connected = true;
        return;
      }
      const connectMs = this.#connectTimeoutMs;
      endConnectWait = afterPatience(connectMs, () => late("dial", `no connection within ${connectMs} ms`));
      socket.once(url.protocol === "https:" ? "secureConnect" : "connect", () => {
        connected = true;
        endConnectWait();
      });
    });
    request.on("error", fail);
    request.on("close", () => {
      if (answer === undefined) {
        fail(new HttpClientError("reset", `${what}: the connection closed without an answer`));
      }
    });
    request.on("upgrade", (_, socket) => {
      socket.destroy();
      fail(new HttpClientError("protocol", `${what}: the answer switches protocols`));
    });
    request.on("response", (message) => {
      clearTimers();
      const response = this.#answer(message, { method, what });
      answer = response.body;
      const finished = () => {
        unlisten();
        discard(body);
      };
      message.once("close", finished);
      answer.once("close", finished);
      resolve(response);
    });
    send(request, body, fail);
    return promise;
  }

  #open(
    url: URL,
    init: {
      method: string;
      headers: Record<string, string>;
      body: Uint8Array | Readable | undefined;
      ca: string | undefined;
      certificate: { readonly cert: string; readonly key: string } | undefined;
      fresh: boolean;
    },
  ): http.ClientRequest {
    const secure = url.protocol === "https:";
    if (!secure && url.protocol !== "http:") {
      throw new TypeError(`unsupported scheme ${url.protocol}`);
    }
    const headers: Record<string, string> = { ...init.headers };
    if (init.body instanceof Uint8Array) {
      headers["content-length"] = String(init.body.length);
    }
    const options: https.RequestOptions = {
      method: init.method,
      headers,
      maxHeaderSize: MAX_HEADER_BYTES,
      hostname: url.hostname.replace(/^\[|\]$/g, ""),
      port: url.port === "" ? (secure ? 443 : 80) : Number(url.port),
      path: `${url.pathname}${url.search}`,
    };
    if (!secure) {
      return http.request({ ...options, agent: init.fresh ? false : this.#http });
    }
    return https.request({
      ...options,
      agent: init.fresh ? false : this.#https,
      ...(init.ca === undefined ? {} : { ca: init.ca }),
      ...init.certificate,
    });
  }

  #answer(
    message: http.IncomingMessage,
    { method, what }: { method: string; what: string },
  ): HttpResponse & { body: ResponseBody } {
    const headers = new Headers();
    for (let i = 0; i + 1 < message.rawHeaders.length; i += 2) {
      headers.append(message.rawHeaders[i] as string, message.rawHeaders[i + 1] as string);
    }
    const status = message.statusCode ?? 0;
    const length = headers.get("content-length");
    const bodiless = method === "HEAD" || status === 204 || status === 304;
    const expected = bodiless ? 0 : length === null || headers.has("transfer-encoding") ? undefined : Number(length);
    return {
      status,
      headers,
      body: new ResponseBody(message, {
        what,
        expected,
        idleTimeoutMs: this.#idleTimeoutMs,
        onTimeout: () => this.#onTimeout("idle"),
      }),
    };
  }
}

/** A kept connection that the other side had closed meanwhile: says nothing about the request. */
class StaleConnection extends Error {}

function send(
  request: http.ClientRequest,
  body: Uint8Array | Readable | undefined,
  fail: (error: unknown) => void,
): void {
  if (!isStream(body)) {
    request.end(body);
    return;
  }
  body.on("error", fail);
  body.pipe(request);
}

function isStream(body: Uint8Array | Readable | undefined): body is Readable {
  return body !== undefined && !(body instanceof Uint8Array);
}

function discard(body: Uint8Array | Readable | undefined): void {
  if (isStream(body)) {
    body.on("error", () => {});
    body.destroy();
  }
}

function isConnectionLoss(error: unknown): boolean {
  return (
    (error instanceof HttpClientError && error.code === "reset") ||
    (error instanceof Error && "code" in error && (error.code === "ECONNRESET" || error.code === "EPIPE"))
  );
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
