/**
 * @module A seeder that tells metainfo and gives no piece: only connections that speak HTTP/2 pass, which are those of
 * the MetaInfo service; pieces are asked for by HTTP/1.1.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** The first bytes of an HTTP/2 connection (RFC 9113, section 3.4). */
const preface = "PRI";

/** In front of a seeder. The rig closes it. */
export class MetainfoOnly {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Connections turned away. */
  refused = 0;

  private constructor(seeder: URL) {
    this.#server = createServer((socket) => {
      this.#keep(socket);
      socket.once("data", (head) => {
        if (head.toString("latin1", 0, preface.length) !== preface) {
          this.refused += 1;
          socket.destroy();
          return;
        }
        const onward = connect(Number(seeder.port), seeder.hostname);
        this.#keep(onward);
        onward.write(head);
        socket.pipe(onward).pipe(socket);
        for (const [one, other] of [[socket, onward] as const, [onward, socket] as const]) {
          one.once("close", () => other.destroy());
        }
      });
    });
  }

  static async start(seeder: URL): Promise<MetainfoOnly> {
    const front = new MetainfoOnly(seeder);
    await new Promise<void>((resolve) => front.#server.listen(0, "127.0.0.1", resolve));
    return front;
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => this.#sockets.delete(socket));
  }
}
