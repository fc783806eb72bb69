/**
 * @module Bytes on a TCP connection, for requests that no HTTP client would send.
 */
import { connect } from "node:net";

/**
 * Sends bytes and reads what comes until the other side closes, or nothing has come for `quietMs`.
 * Errors of the connection end the exchange and are no exception: hostile input may well be answered by a reset.
 */
export function exchange(
  url: URL,
  bytes: string | Uint8Array,
  { quietMs = 2000, limit = 1024 * 1024 }: { quietMs?: number; limit?: number } = {},
): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: url.hostname, port: Number(url.port) });
    const chunks: Buffer[] = [];
    let size = 0;
    socket.setTimeout(quietMs, () => socket.destroy());
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size > limit) socket.destroy();
    });
    socket.once("error", () => socket.destroy());
    socket.once("close", () => resolve(Buffer.concat(chunks).toString("latin1")));
    socket.write(bytes);
  });
}

/** The status of a raw answer; undefined when there was none. */
export function statusOf(answer: string): number | undefined {
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(answer)?.[1];
  return status === undefined ? undefined : Number(status);
}
