/**
 * @module Free TCP ports for programs that must be told their port beforehand.
 */
import { createServer } from "node:net";

/** Below Linux's range of ephemeral ports, so that no outgoing connection takes a port between choice and use. */
const lowest = 15_000;
const span = 17_000;
const maxTries = 200;

/**
 * Finds a port that nobody listens on.
 * @param host - the address that has to be free, default the IPv4 loopback.
 * @param random - source of numbers in [0, 1).
 * @throws Error when 200 random ports were all taken.
 */
export async function freePort(host = "127.0.0.1", random: () => number = Math.random): Promise<number> {
  for (let attempt = 0; attempt < maxTries; attempt++) {
    const port = lowest + Math.floor(random() * span);
    if (await isFree(host, port)) return port;
  }
  throw new Error(`no free port on ${host} after ${maxTries} tries`);
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
