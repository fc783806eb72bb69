/**
 * @module Stands between two parts, in the process of the test: counts requests and the bytes of blob bodies, and makes
 * things go wrong on demand. HTTP/1.1 without TLS; h2c does not pass.
 */
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { content } from "./blob-content.ts";
import { Fault, type FaultKind, type FaultTarget } from "./faults.ts";

/** One request that came by. */
export interface SeenRequest {
  method: string;
  url: string;
  range: string | undefined;
  authorized: boolean;
  /** Undefined while unanswered. */
  status: number | undefined;
  /** Bytes of the body sent on. */
  bytes: number;
}

/** A proxy in front of one HTTP server. */
export class CountingProxy {
  readonly #upstream: URL;
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  #server: http.Server | undefined;
  #port = 0;
  #faults: Fault[] = [];
  readonly #sockets = new Set<Socket>();
  /** All requests since the start, in order of arrival. */
  readonly requests: SeenRequest[] = [];

  constructor(upstream: URL) {
    this.#upstream = upstream;
  }

  /** Makes a proxy that listens. Who calls it closes it. */
  static async start(upstream: URL): Promise<CountingProxy> {
    const proxy = new CountingProxy(upstream);
    await proxy.up();
    return proxy;
  }

  /** Where it listens; the port stays the same through `down` and `up`. */
  get url(): URL {
    return new URL(`http://127.0.0.1:${this.#port}`);
  }

  /** Starts to listen (again). */
  async up(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      this.#pass(request, response).catch(() => response.destroy());
    });
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.#port, "127.0.0.1", resolve);
    });
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** As if the machine behind it were gone: connections are reset, new ones refused. */
  async down(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }

  async close(): Promise<void> {
    await this.down();
    this.#agent.destroy();
  }

  /** Puts a fault in force until `heal`. Of several that match a request the first one hits. */
  inject(effect: FaultKind, target?: FaultTarget): Fault {
    const fault = new Fault(effect, target);
    this.#faults.push(fault);
    return fault;
  }

  /** Ends all faults; responses under way keep theirs. */
  heal(): void {
    this.#faults = [];
  }

  /** Bytes of bodies of blob GETs sent, of one digest or of all. */
  blobBytes(digest?: string): number {
    return this.blobReads(digest).reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** GET requests for blobs, of one digest or of all. */
  blobReads(digest?: string): SeenRequest[] {
    return this.requests.filter(
      ({ method, url }) =>
        method === "GET" && /\/blobs\/sha\d+:/.test(url) && (digest === undefined || url.includes(digest)),
    );
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", url = "/" } = request;
    const seen: SeenRequest = {
      method,
      url,
      range: request.headers.range,
      authorized: request.headers.authorization !== undefined,
      status: undefined,
      bytes: 0,
    };
    this.requests.push(seen);
    const fault = this.#faults.find((candidate) => candidate.matches(method, url));
    const effect = fault?.effect;
    if (effect?.kind !== "flip") fault?.take(url);
    if (effect?.kind === "hole") return;
    if (effect?.kind === "status") {
      seen.status = effect.status;
      response.writeHead(effect.status, { "content-type": "application/json" });
      response.end(JSON.stringify({ errors: [{ code: "UNKNOWN", message: "injected by the rig" }] }));
      return;
    }
    const answer = await this.#ask(request, response);
    if (answer === undefined) return;
    seen.status = answer.statusCode ?? 502;
    if (effect?.kind === "garbage") {
      answer.destroy();
      response.writeHead(200, { "content-type": "application/octet-stream" });
      for (const chunk of content("random", "garbage", effect.bytes)) {
        if (response.destroyed) return;
        seen.bytes += chunk.length;
        await write(response, chunk);
      }
      response.end();
      return;
    }
    response.writeHead(seen.status, answer.rawHeaders);
    await copy(answer, response, seen, fault);
  }

  /** @returns undefined when the server did not answer: the caller was told 502. */
  #ask(request: IncomingMessage, response: ServerResponse): Promise<IncomingMessage | undefined> {
    return new Promise((resolve) => {
      const asked = http.request(this.#upstream, {
        method: request.method,
        path: request.url,
        headers: request.headers,
        agent: this.#agent,
      });
      asked.once("response", resolve);
      asked.on("error", () => {
        if (!response.headersSent) response.writeHead(502);
        response.end();
        resolve(undefined);
      });
      response.once("close", () => asked.destroy());
      request.pipe(asked);
    });
  }
}

/** Copies a body as the fault wants it. */
async function copy(
  answer: IncomingMessage,
  response: ServerResponse,
  seen: SeenRequest,
  fault: Fault | undefined,
): Promise<void> {
  const effect = fault?.effect;
  const first = Number(/^bytes (\d+)-/.exec(answer.headers["content-range"] ?? "")?.[1] ?? 0);
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    if (response.destroyed) return;
    if (effect?.kind === "flip") {
      const at = effect.at - (effect.of === "body" ? 0 : first) - seen.bytes;
      if (at >= 0 && at < chunk.length && fault?.take(seen.url)) chunk[at] = chunk[at]! ^ 1;
    }
    const stop = effect?.kind === "cut" || effect?.kind === "reset" || effect?.kind === "stall" ? effect.at : Infinity;
    const allowed = chunk.subarray(0, Math.max(0, stop - seen.bytes));
    seen.bytes += allowed.length;
    await write(response, allowed);
    if (effect?.kind === "slow") await sleep((allowed.length / effect.rate) * 1000);
    if (seen.bytes < stop) continue;
    if (effect?.kind === "cut") response.socket?.destroy();
    if (effect?.kind === "reset") response.socket?.resetAndDestroy();
    await new Promise((resolve) => response.once("close", resolve));
    return;
  }
  response.end();
}

/** Writes with backpressure; returns early when the reader is gone. */
function write(response: ServerResponse, chunk: Uint8Array): Promise<void> | undefined {
  if (response.destroyed || chunk.length === 0 || response.write(chunk)) return undefined;
  return new Promise((resolve) => {
    const done = () => {
      response.off("drain", done);
      response.off("close", done);
      resolve();
    };
    response.once("drain", done);
    response.once("close", done);
  });
}
