/**
 * @module A seed of the standard wire (BEP 3) made by hand, so that it can do what no real client does: lie, flood,
 * fall silent. It listens, tells everybody that it has everything, and answers requests as it is told.
 */
import { randomBytes } from "node:crypto";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";

const protocol = Buffer.from("\x13BitTorrent protocol", "latin1");
const handshakeLength = 68;

/** What it does. */
export interface WirePeerInit {
  /** 20 bytes. */
  readonly infoHash: Uint8Array;
  readonly pieces: number;
  /** The bytes of a block; undefined: no answer. */
  block(piece: number, offset: number, length: number): Uint8Array | undefined;
  /** Sent behind handshake, bitfield and unchoke. */
  readonly greeting?: Uint8Array;
}

/** See the module. Close it. */
export class WirePeer {
  readonly peerId = Buffer.concat([Buffer.from("-XX0001-"), randomBytes(12)]);
  readonly #init: WirePeerInit;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Connections with a right handshake. */
  handshakes = 0;
  /** Bytes of blocks sent. */
  sent = 0;
  /** Pieces of which something was asked. */
  readonly asked = new Set<number>();

  private constructor(init: WirePeerInit) {
    this.#init = init;
    this.#server = createServer((socket) => this.#talk(socket));
  }

  static async start(init: WirePeerInit): Promise<WirePeer> {
    const peer = new WirePeer(init);
    await new Promise<void>((resolve) => peer.#server.listen(0, "127.0.0.1", resolve));
    return peer;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #talk(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => this.#sockets.delete(socket));
    let buffer = Buffer.alloc(0);
    let greeted = false;
    socket.on("data", (chunk: Buffer) => {
      buffer = Buffer.concat([buffer, chunk]);
      if (!greeted) {
        if (buffer.length < handshakeLength) return;
        buffer = buffer.subarray(handshakeLength);
        greeted = true;
        this.#greet(socket);
      }
      while (buffer.length >= 4 && buffer.length >= 4 + buffer.readUInt32BE()) {
        const length = buffer.readUInt32BE();
        this.#onMessage(socket, buffer.subarray(4, 4 + length));
        buffer = buffer.subarray(4 + length);
      }
    });
  }

  #greet(socket: Socket): void {
    this.handshakes += 1;
    const { infoHash, pieces, greeting } = this.#init;
    socket.write(Buffer.concat([protocol, Buffer.alloc(8), infoHash, this.peerId]));
    const bits = Buffer.alloc(Math.ceil(pieces / 8), 0xff);
    const spare = bits.length * 8 - pieces;
    bits[bits.length - 1] = (0xff << spare) & 0xff;
    socket.write(message(5, bits));
    socket.write(message(1));
    if (greeting) socket.write(greeting);
  }

  #onMessage(socket: Socket, body: Buffer): void {
    if (body[0] !== 6 || body.length !== 13) return;
    const [piece, offset, length] = [body.readUInt32BE(1), body.readUInt32BE(5), body.readUInt32BE(9)];
    this.asked.add(piece);
    const block = this.#init.block(piece, offset, length);
    if (!block) return;
    this.sent += block.length;
    const place = Buffer.alloc(8);
    place.writeUInt32BE(piece);
    place.writeUInt32BE(offset, 4);
    socket.write(message(7, place, block));
  }
}

/** A message: its length, its kind, what it says. */
export function message(kind: number, ...parts: readonly Uint8Array[]): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(1 + parts.reduce((sum, { length }) => sum + length, 0));
  head[4] = kind;
  return Buffer.concat([head, ...parts]);
}
