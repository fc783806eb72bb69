/**
 * @module A leecher of the standard wire (BEP 3) made by hand: it asks for what the test says and shows what came.
 */
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { message } from "./wire-peer.ts";

const handshakeLength = 68;

/** A message that came. */
export interface Received {
  readonly kind: number;
  readonly body: Buffer;
}

/** See the module. Close it. */
export class Leecher {
  readonly #socket: Socket;
  readonly #waiting: { kind: number; resolve(received: Received): void; reject(error: Error): void }[] = [];
  readonly messages: Received[] = [];
  /** Of the other side. */
  handshake: Buffer | undefined;
  /** Resolves when the connection is over. */
  readonly closed: Promise<void>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    let buffer = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      buffer = Buffer.concat([buffer, chunk]);
      if (!this.handshake) {
        if (buffer.length < handshakeLength) return;
        this.handshake = buffer.subarray(0, handshakeLength);
        buffer = buffer.subarray(handshakeLength);
      }
      while (buffer.length >= 4 && buffer.length >= 4 + buffer.readUInt32BE()) {
        const length = buffer.readUInt32BE();
        if (length > 0) this.#onMessage({ kind: buffer[4]!, body: Buffer.from(buffer.subarray(5, 4 + length)) });
        buffer = buffer.subarray(4 + length);
      }
    });
    socket.on("error", () => {});
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        for (const { reject } of this.#waiting.splice(0)) reject(new Error("the connection was closed"));
        resolve();
      });
    });
  }

  /** Connects and says who it is. @param init.fast whether it speaks the Fast extension (BEP 6). */
  static async connect(
    port: number,
    { infoHash, fast = true }: { infoHash: Uint8Array; fast?: boolean },
  ): Promise<Leecher> {
    const socket = connect(port, "127.0.0.1");
    const leecher = new Leecher(socket);
    const reserved = Buffer.from([0, 0, 0, 0, 0, 0, 0, fast ? 4 : 0]);
    const peerId = Buffer.concat([Buffer.from("-XX0002-"), randomBytes(12)]);
    socket.write(Buffer.concat([Buffer.from("\x13BitTorrent protocol", "latin1"), reserved, infoHash, peerId]));
    return leecher;
  }

  /** The next message of a kind, one that came already included. @throws Error when the connection ends before. */
  async next(kind: number): Promise<Received> {
    const index = this.messages.findIndex((one) => one.kind === kind);
    if (index >= 0) return this.messages.splice(index, 1)[0]!;
    return await new Promise((resolve, reject) => this.#waiting.push({ kind, resolve, reject }));
  }

  send(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  interested(): void {
    this.send(message(2));
  }

  request(piece: number, offset: number, length: number): void {
    this.send(message(6, numbers(piece, offset, length)));
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.destroy();
  }

  #onMessage(received: Received): void {
    const index = this.#waiting.findIndex(({ kind }) => kind === received.kind);
    if (index >= 0) this.#waiting.splice(index, 1)[0]!.resolve(received);
    else this.messages.push(received);
  }
}

/** Numbers of 32 bits, the high byte first. */
export function numbers(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value >>> 0, index * 4);
  return bytes;
}
