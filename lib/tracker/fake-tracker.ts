/** @module A tracker for tests that answers whatever it is told to, and remembers what it was asked. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** One request as it came. */
export interface Asked {
  readonly method: string;
  readonly target: string;
  readonly query: URLSearchParams;
  readonly body: string;
}

/** A listener on loopback. Close it. */
export interface FakeTracker extends AsyncDisposable {
  readonly url: URL;
  readonly port: number;
  readonly asked: Asked[];
}

/** Answers a request; without an end to the response the tracker is mute. */
export type FakeAnswer = (res: ServerResponse, asked: Asked) => void;

/** Starts one. `port` 0 takes any. */
export async function fakeTracker(answer: FakeAnswer, { port = 0 }: { port?: number } = {}): Promise<FakeTracker> {
  const asked: Asked[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((req: IncomingMessage, res: ServerResponse) => {
    const chunks: Buffer[] = [];
    req.on("data", (chunk: Buffer) => chunks.push(chunk));
    req.on("end", () => {
      const target = req.url ?? "";
      const query = new URL(target, "http://x").searchParams;
      const one = { method: req.method ?? "", target, query, body: Buffer.concat(chunks).toString() };
      asked.push(one);
      answer(res, one);
    });
    req.on("error", () => {});
    res.on("error", () => {});
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  return {
    url: new URL(`http://127.0.0.1:${bound}`),
    port: bound,
    asked,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
