/**
 * @module
 * CONNECT answered by this listener itself: TLS is spoken with the client as the target would, so that the requests
 * inside can be served like any others.
 */

import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type SecureContext, TLSSocket } from "node:tls";

/** What {@link answerAs} needs. */
export interface AnswerAsInit {
  /** Certificate and key of the target. */
  context: SecureContext;
  /** Longest wait for the client's side of the handshake, ms. */
  timeoutMs: number;
  /** The handshake is done: whoever hears this owns the socket. */
  onSecure(socket: TLSSocket): void;
  /** The handshake failed: the connection is closed. */
  onFailure(error: Error): void;
}

/** Says 200 to a CONNECT and begins TLS on its connection. `head` is what the client had sent already. */
export function answerAs(
  socket: Duplex,
  head: Buffer,
  { context, timeoutMs, onSecure, onFailure }: AnswerAsInit,
): void {
  socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
  if (head.length > 0) socket.unshift(head);
  const secured = new TLSSocket(socket as Socket, {
    isServer: true,
    secureContext: context,
    ALPNProtocols: ["http/1.1"],
  });
  let begun = false;
  const fail = (error: Error) => {
    clearTimeout(timer);
    // Once requests run, the server above hears of a lost connection itself.
    if (!begun) onFailure(error);
    begun = true;
    secured.destroy();
    socket.destroy();
  };
  const timer = setTimeout(() => fail(new Error(`no TLS handshake within ${timeoutMs} ms`)), timeoutMs);
  secured.on("error", fail);
  secured.once("end", () => {
    if (!begun) fail(new Error("the client left within the TLS handshake"));
  });
  secured.once("close", () => {
    clearTimeout(timer);
    socket.destroy();
  });
  secured.once("secure", () => {
    clearTimeout(timer);
    if (begun) return;
    begun = true;
    onSecure(secured);
  });
}
