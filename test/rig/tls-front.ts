/**
 * @module TLS in front of a server that speaks plain TCP, in the process of the test: a registry with a certificate of a
 * private authority.
 */
import { type AddressInfo, connect, type Socket } from "node:net";
import { createServer } from "node:tls";
import { Issuer, type KeyedCertificate } from "../../lib/tls/certificate.ts";
import { LeafContexts } from "../../lib/tls/leaf-contexts.ts";

/** A running front. Who starts it closes it. */
export interface TlsFront {
  port: number;
  close(): Promise<void>;
}

/**
 * Listens at 127.0.0.1, with a certificate for whatever name a client asks for, and one for the address.
 * @param upstream - where the clear bytes go.
 */
export async function startTlsFront(upstream: URL, authority: KeyedCertificate): Promise<TlsFront> {
  const issuer = new Issuer(authority);
  const contexts = new LeafContexts(issuer);
  const sockets = new Set<Socket>();
  const server = createServer(
    { ...issuer.issue("127.0.0.1"), SNICallback: (name, done) => done(null, contexts.get(name)) },
    (client) => {
      const server = connect(Number(upstream.port), upstream.hostname);
      for (const socket of [client, server]) {
        sockets.add(socket);
        socket.on("error", () => {});
        socket.once("close", () => {
          sockets.delete(socket);
          client.destroy();
          server.destroy();
        });
      }
      client.pipe(server).pipe(client);
    },
  );
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
