/**
 * @module
 * Seeders for tests: one that answers, and some that do not, on plain node:http and node:http2 servers on loopback.
 */
import { createServer as createHttp1Server } from "node:http";
import { createServer as createHttp2Server, type ServerHttp2Session } from "node:http2";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { type MetaInfoHandlerOptions, metaInfoHandler } from "../handler.ts";
import type { BlobEvent, MetaInfoQuery, MetaInfoService } from "../meta-info.ts";

/** A listening server. */
export interface TestServer {
  readonly url: URL;
  readonly port: number;
  /** Resolves when no connection is left. */
  idle(): Promise<void>;
  /** Breaks all connections; the listener goes on. */
  cut(): void;
  /** Ends the listener and all connections at once, as `kill -9` would. Again: joins. */
  kill(): Promise<void>;
}

/** Serves a service by h2c (gRPC's way) or HTTP/1.1. `port`: 0 chooses one. */
export async function startSeeder(
  service: MetaInfoService,
  { http = 2, port = 0, ...options }: { http?: 1 | 2; port?: number } & MetaInfoHandlerOptions = {},
): Promise<TestServer> {
  const handler = metaInfoHandler(service, options);
  const sockets = new Set<Socket>();
  const notFound = (res: { writeHead(status: number): unknown; end(): unknown }) => {
    res.writeHead(404);
    res.end();
  };
  const server =
    http === 1
      ? createHttp1Server((req, res) => handler(req, res, () => notFound(res)))
      : createHttp2Server((req, res) => handler(req, res, () => notFound(res)));
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session: ServerHttp2Session) => {
    sessions.add(session);
    session.on("error", () => {});
    session.once("close", () => sessions.delete(session));
  });
  return await listen(server, sockets, port, () => {
    for (const session of sessions) session.destroy();
  });
}

/** Takes connections and never says a word. */
export async function startMute({ port = 0 } = {}): Promise<TestServer> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => socket.resume());
  return await listen(server, sockets, port);
}

/** Speaks HTTP/2, takes every stream, answers none. `streams()` counts them. */
export async function startSilent({ port = 0 } = {}): Promise<TestServer & { streams(): number }> {
  const sockets = new Set<Socket>();
  const server = createHttp2Server();
  let streams = 0;
  server.on("stream", (stream) => {
    streams += 1;
    stream.on("error", () => {});
    stream.resume();
  });
  server.on("session", (session) => session.on("error", () => {}));
  return Object.assign(await listen(server, sockets, port), { streams: () => streams });
}

/** A port nobody listens on (it was free a moment ago). */
export async function deadUrl(): Promise<URL> {
  const server = await startMute();
  await server.kill();
  return server.url;
}

interface NetServer {
  listen(port: number, host: string, done: () => void): unknown;
  close(done: () => void): unknown;
  address(): AddressInfo | string | null;
  on(event: "connection", listener: (socket: Socket) => void): unknown;
  once(event: "error", listener: (error: Error) => void): unknown;
}

async function listen(
  server: NetServer,
  sockets: Set<Socket>,
  port: number,
  before: () => void = () => {},
): Promise<TestServer> {
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  let killed: Promise<void> | undefined;
  const bound = (server.address() as AddressInfo).port;
  return {
    url: new URL(`http://127.0.0.1:${bound}`),
    port: bound,
    async idle() {
      while (sockets.size > 0) await new Promise((resolve) => setTimeout(resolve, 2));
    },
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    kill() {
      killed ??= new Promise<void>((resolve) => {
        server.close(() => resolve());
        before();
        for (const socket of sockets) socket.destroy();
      });
      return killed;
    },
  };
}

/** A digest-like text for tests. */
export const testDigest = `sha256:${"ab".repeat(32)}`;

/** A blob's URL for tests. */
export const testUrl = `https://registry.example/v2/library/alpine/blobs/${testDigest}`;

/** Events of a blob of one piece, in order. */
export function testEvents(metainfo: Uint8Array): BlobEvent[] {
  return [
    { type: "blob", digest: testDigest, size: 600_000, pieceLength: 524_288 },
    { type: "hashes", firstIndex: 0, sha1s: new Uint8Array(20).fill(1) },
    { type: "progress", bytes: 524_288 },
    { type: "hashes", firstIndex: 1, sha1s: new Uint8Array(20).fill(2) },
    { type: "metainfo", metainfo },
  ];
}

/** Answers each question with `metainfo` and remembers the questions. */
export function answeringService(metainfo: Uint8Array): MetaInfoService & { queries: MetaInfoQuery[] } {
  const queries: MetaInfoQuery[] = [];
  return {
    queries,
    async getMetaInfo(query) {
      queries.push(query);
      return metainfo;
    },
    async *streamMetaInfo(query) {
      queries.push(query);
      yield* testEvents(metainfo);
    },
  };
}

/** A service that fails with `error` each time. */
export function failingService(error: unknown): MetaInfoService {
  return {
    async getMetaInfo() {
      throw error;
    },
    streamMetaInfo() {
      return {
        [Symbol.asyncIterator]: () => ({
          next: () => Promise.reject(error),
        }),
      };
    },
  };
}
