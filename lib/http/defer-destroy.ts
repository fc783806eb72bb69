/**
 * @module
 * Keeps a crash of Deno's node:http2 away from its users (Deno 2.9.6, denoland/deno#36788).
 */
import type { Http2Session } from "node:http2";

/**
 * Makes `destroy` of the session take effect in the next turn of the event loop.
 *
 * A GOAWAY of the peer makes node:http2 close its session while native code still reads that very frame. Deno frees the
 * session then and goes on in freed memory: any client that says goodbye could end the process. Node is not concerned.
 */
export function deferDestroy(session: Http2Session): void {
  if (!("Deno" in globalThis)) return;
  const destroy = session.destroy.bind(session) as (...values: unknown[]) => void;
  session.destroy = (...values: unknown[]) => {
    setImmediate(() => destroy(...values));
  };
}
