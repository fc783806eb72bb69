/**
 * @module
 * Keeps listeners of Deno's node:net alive when files run out (Deno 2.9.6).
 */
import type { Server } from "node:net";

/** A listener that has stopped accepting is woken within this, ms. */
const wakeMs = 1_000;
/** Connections that the system holds until they are accepted: what node:net asks for. */
const backlog = 511;

/** The part of node:net's own handle that this needs. */
interface ListeningHandle {
  listen(backlog: number): number;
}

/**
 * Sees to it that a server goes on accepting once there are descriptors again.
 *
 * Where accept(2) fails with EMFILE, Deno neither tries again nor tells: the port stays bound and answers nobody until
 * the process ends. To listen once more on the same handle makes Deno look for connections again, those that wait
 * included; on a listener that is well it does nothing, in less than a microsecond. Node is not concerned.
 *
 * Ends by itself when the server closes.
 */
export function keepAccepting(server: Server): void {
  if (!("Deno" in globalThis)) return;
  const timer = setInterval(() => {
    const { _handle: handle } = server as Server & { _handle?: Partial<ListeningHandle> | null };
    handle?.listen?.(backlog);
  }, wakeMs);
  timer.unref();
  server.once("close", () => clearInterval(timer));
}
