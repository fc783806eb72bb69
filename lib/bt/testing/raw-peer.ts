/** @module A peer for tests of connections. */
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { PeerEndpoint } from "../sources/connection.ts";

/** A peer that answers with whatever bytes a test says. */
export interface RawPeer extends AsyncDisposable {
  readonly endpoint: PeerEndpoint;
  readonly requests: string[];
  connections: number;
  open: number;
}

/** A TCP server that calls `answer` for each request head (and small body) it gets. */
export async function rawPeer(answer: (socket: Socket, request: string, count: number) => unknown): Promise<RawPeer> {
  const sockets = new Set<Socket>();
  const requests: string[] = [];
  const server = createServer((socket) => {
    peer.connections++;
    peer.open++;
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => {
      peer.open--;
      sockets.delete(socket);
    });
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) return;
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (text.length < end + 4 + length) return;
      requests.push(text);
      text = "";
      answer(socket, requests.at(-1) ?? "", requests.length);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const peer: RawPeer = {
    endpoint: { host: "127.0.0.1", port: (server.address() as AddressInfo).port },
    requests,
    connections: 0,
    open: 0,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  return peer;
}
