/**
 * @module Stands between two parts, in the process of the test: counts requests and the bytes of blob bodies, and makes
 * things go wrong on demand. HTTP/1.1 without TLS; connections of HTTP/2 pass byte by byte.
 */
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import net, { type AddressInfo, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { content } from "./blob-content.ts";
import { Fault, type FaultKind, type FaultTarget } from "./faults.ts";
import { passStream, StreamFault, type StreamFaultKind } from "./stream-faults.ts";

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
  /** Until the head of the answer, ms; undefined while there is none. */
  headMs: number | undefined;
  /** Until the first byte of its body, ms. */
  firstByteMs: number | undefined;
  /** Until the client closed the connection before the end of the answer, ms; undefined while it waits or has it all. */
  leftMs: number | undefined;
}

/** What an HTTP/2 connection begins with (RFC 9113, 3.4). */
const PREFACE = "PRI * HTTP/2.0\r\n";

/** A proxy in front of one HTTP server. */
export class CountingProxy {
  #upstream: URL;
  readonly #host: string;
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  #server: net.Server | undefined;
  #port: number;
  #faults: Fault[] = [];
  #streamFault: StreamFault | undefined;
  readonly #sockets = new Set<Socket>();
  /** All requests since the start, in order of arrival. */
  readonly requests: SeenRequest[] = [];

  constructor(upstream: URL, { host = "127.0.0.1", port = 0 }: { host?: string; port?: number } = {}) {
    this.#upstream = upstream;
    this.#host = host;
    this.#port = port;
  }

  /** Makes a proxy that listens, at a free port where none is given. Who calls it closes it. */
  static async start(upstream: URL, place?: { host?: string; port?: number }): Promise<CountingProxy> {
    const proxy = new CountingProxy(upstream, place);
    await proxy.up();
    return proxy;
  }

  /** Where it listens; the port stays the same through `down` and `up`. */
  get url(): URL {
    return new URL(`http://${this.#host}:${this.#port}`);
  }

  /** Sends what comes from now on to another server; connections of clients are closed. */
  redirect(upstream: URL): void {
    this.#upstream = upstream;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Starts to listen (again). */
  async up(): Promise<void> {
    if (this.#server !== undefined) return;
    const web = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      this.#pass(request, response).catch(() => response.destroy());
    });
    const server = net.createServer((socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
      socket.on("error", () => {});
      socket.once("data", (first) => {
        if (first.toString("latin1", 0, PREFACE.length) === PREFACE) {
          passStream(socket, first, { upstream: this.#upstream, fault: () => this.#streamFault });
          return;
        }
        socket.pause();
        socket.unshift(first);
        web.emit("connection", socket);
        socket.resume();
      });
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.#port, this.#host, resolve);
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
    // A handle in its shutdown refuses a reset (libuv: EINVAL) and would stay open; Node then spins at its exit.
    for (const socket of this.#sockets) {
      if (socket.writableEnded) socket.destroy();
      else socket.resetAndDestroy();
    }
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

  /** Puts a fault in force on connections of HTTP/2, instead of the one before. */
  injectStream(effect: StreamFaultKind): StreamFault {
    this.#streamFault = new StreamFault(effect);
    return this.#streamFault;
  }

  /** Ends all faults; responses under way keep theirs. */
  heal(): void {
    this.#faults = [];
    this.#streamFault = undefined;
  }

  /** Bytes of blobs sent, of one digest or of all; the words of a refusal are none. */
  blobBytes(digest?: string): number {
    const served = this.blobReads(digest).filter(({ status }) => status !== undefined && status < 300);
    return served.reduce((sum, { bytes }) => sum + bytes, 0);
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
      headMs: undefined,
      firstByteMs: undefined,
      leftMs: undefined,
    };
    const began = performance.now();
    this.requests.push(seen);
    const { socket } = request;
    response.once("close", () => {
      // What this side closes has seen no end and no error from the other.
      const isClosedByClient = socket.readableEnded || socket.errored !== null;
      if (isClosedByClient && !response.writableFinished) seen.leftMs = performance.now() - began;
    });
    const fault = this.#faults.find((candidate) => candidate.matches(method, url));
    const effect = fault?.effect;
    if (!fault?.waitsForByte) fault?.take(url);
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
    seen.headMs = performance.now() - began;
    answer.once("data", () => {
      seen.firstByteMs = performance.now() - began;
    });
    answer.pause();
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
        if (response.headersSent) response.destroy();
        else response.writeHead(502).end();
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
  const at = positionOf(effect, first);
  const stops = effect?.kind === "cut" || effect?.kind === "reset" || effect?.kind === "stall";
  let stop = stops ? at : Number.POSITIVE_INFINITY;
  // A byte of the blob is met when it would be sent; a number of bytes of a body is over when they were.
  const isOver = (bytes: number) => (fault?.waitsForByte ? bytes > stop : bytes >= stop);
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    if (response.destroyed) return;
    const from = seen.bytes;
    const isHere = fault?.waitsForByte && at >= from && at < from + chunk.length && fault.take(seen.url);
    if (fault?.waitsForByte && !isHere && isOver(from + chunk.length)) stop = Number.POSITIVE_INFINITY;
    if (isHere && effect?.kind === "flip") chunk[at - from] = chunk[at - from]! ^ 1;
    const allowed = chunk.subarray(0, Math.max(0, stop - from));
    seen.bytes += allowed.length;
    if (isOver(from + chunk.length)) response.flushHeaders();
    await write(response, allowed);
    if (effect?.kind === "slow" && seen.bytes > at) await sleep((allowed.length / effect.rate) * 1000);
    if (!isOver(from + chunk.length)) continue;
    if (effect?.kind === "cut") response.socket?.destroy();
    if (effect?.kind === "reset") response.socket?.resetAndDestroy();
    await new Promise((resolve) => response.once("close", resolve));
    return;
  }
  // A body that was cut on this side is cut on the other as well.
  if (answer.complete) response.end();
  else response.destroy();
}

/** Where in this body a fault is. Before it, when its byte of the blob is not in it: then it never is. */
function positionOf(effect: FaultKind | undefined, first: number): number {
  if (effect === undefined || !("at" in effect) || effect.at === undefined) return 0;
  const ofBlob = effect.kind === "slow" || (effect.kind === "flip" ? effect.of !== "body" : effect.of === "blob");
  const at = effect.at - (ofBlob ? first : 0);
  return at < 0 ? Number.POSITIVE_INFINITY : at;
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
