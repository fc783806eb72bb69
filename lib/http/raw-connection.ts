/**
 * @module
 * A bare TCP connection for tests that must send what no HTTP client would, or watch how a connection ends.
 */

import { connect, type Socket } from "node:net";

/** A connection whose received bytes are collected. */
export interface RawConnection {
  readonly socket: Socket;
  /** Everything received so far, as latin1. */
  readonly received: string;
  /** Resolves with `received` as soon as `text` is part of it. Rejects when the connection ends before. */
  until(text: string): Promise<string>;
  /** Resolves when the connection is gone: "end" after a clean end, "reset" after an error. */
  readonly closed: Promise<"end" | "reset">;
}

/** Connects to a port of 127.0.0.1 and sends `text` (latin1). */
export function rawConnection(port: number, text = ""): RawConnection {
  const socket = connect(port, "127.0.0.1");
  let received = "";
  let failed = false;
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const check of waiting) {
      check();
    }
  };
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1");
    wake();
  });
  socket.on("error", () => {
    failed = true;
  });
  const closed = new Promise<"end" | "reset">((resolve) => {
    socket.on("close", () => {
      resolve(failed ? "reset" : "end");
      wake();
    });
  });
  if (text !== "") {
    socket.write(text, "latin1");
  }
  return {
    socket,
    closed,
    get received() {
      return received;
    },
    until(wanted) {
      return new Promise((resolve, reject) => {
        const check = () => {
          if (received.includes(wanted)) {
            waiting.delete(check);
            resolve(received);
          } else if (socket.closed || socket.destroyed) {
            waiting.delete(check);
            reject(new Error(`connection closed without ${JSON.stringify(wanted)}: ${JSON.stringify(received)}`));
          }
        };
        waiting.add(check);
        check();
      });
    },
  };
}
