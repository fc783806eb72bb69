/**
 * The wire's TCP port. It looks at the first bytes of a connection and hands on those that ask for a blob of this host;
 * whatever else knocks costs a small buffer and no more.
 * @module
 */
import { createServer, type Server, type Socket } from "node:net";
import { keepAccepting } from "../../http/keep-accepting.ts";
import { HANDSHAKE_PREFIX, readInfoHash } from "./handshake.ts";

/** Connections at most, those handed on included. */
const MAX_CONNECTIONS = 256;
/** A connection says what it wants within this, ms. */
const HANDSHAKE_MS = 10_000;

export interface WireListenerInit {
  readonly host: string;
  readonly port: number;
  /** Whether connections from an address are taken at all. */
  accepts(address: string): boolean;
  /** Whether a torrent is here. */
  knows(infoHash: string): boolean;
  /** Takes over a connection; its handshake has been put back. */
  onPeer(socket: Socket, infoHash: string): void;
}

/** See the module. Closing it leaves connections that were handed on to their taker. */
export class WireListener {
  readonly #init: WireListenerInit;
  readonly #server: Server;
  readonly #waiting = new Set<Socket>();

  private constructor(init: WireListenerInit) {
    this.#init = init;
    this.#server = createServer({ noDelay: true, pauseOnConnect: false }, (socket) => this.#greet(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** @throws the runtime's error when the address cannot be bound. */
  static async open(init: WireListenerInit): Promise<WireListener> {
    const listener = new WireListener(init);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    listener.#server.once("error", reject);
    listener.#server.listen({ host: init.host, port: init.port }, resolve);
    await promise;
    listener.#server.off("error", reject);
    // Accepting may fail when files run out; the next connection may be taken again.
    listener.#server.on("error", () => {});
    keepAccepting(listener.#server);
    return listener;
  }

  /** The port that was bound. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address ? address.port : this.#init.port;
  }

  close(): void {
    for (const socket of this.#waiting) socket.destroy();
    this.#server.close();
  }

  #greet(socket: Socket): void {
    if (!this.#init.accepts(socket.remoteAddress ?? "")) {
      socket.destroy();
      return;
    }
    let head: Buffer = Buffer.alloc(0);
    this.#waiting.add(socket);
    const timer = setTimeout(() => socket.destroy(), HANDSHAKE_MS);
    const end = () => {
      clearTimeout(timer);
      this.#waiting.delete(socket);
      socket.off("data", onData);
      socket.off("close", end);
      socket.off("error", onError);
    };
    const onError = () => socket.destroy();
    const onData = (chunk: Buffer) => {
      head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
      const infoHash = readInfoHash(head.subarray(0, HANDSHAKE_PREFIX));
      if (infoHash === "more") return;
      end();
      if (infoHash === undefined || !this.#init.knows(infoHash)) {
        socket.on("error", () => {});
        socket.destroy();
        return;
      }
      socket.pause();
      socket.unshift(head);
      this.#init.onPeer(socket, infoHash);
    };
    socket.on("data", onData);
    socket.on("close", end);
    socket.on("error", onError);
  }
}
