/**
 * @module
 * One listener for HTTP/1.1 and HTTP/2 on one port: in clear (h2c by prior knowledge) or over TLS (ALPN), on Node and Deno.
 *
 * Requests go to `node` first (Connect's handlers), then to `fetch`. CONNECT goes to `tunnel`.
 */

import http, { type IncomingMessage, type ServerResponse } from "node:http";
import http2, { type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import https from "node:https";
import type { Server } from "node:net";
import type { Duplex } from "node:stream";
import type { SecureContext } from "node:tls";
import type { Logger } from "../log/log.ts";
import { splitProtocols } from "./accept.ts";
import { Connections } from "./connections.ts";
import type { DirectRoute } from "./direct-requests.ts";
import { createDispatcher } from "./dispatch.ts";
import { keepAccepting } from "./keep-accepting.ts";

/** Where a request came from, and its target before anything was made of it. */
export interface RequestEnv {
  /** Address of the client's end of the connection, without brackets. */
  remoteAddress: string;
  remotePort: number;
  /** Address of this end of the connection. */
  localAddress: string;
  localPort: number;
  /** True over TLS. */
  secure: boolean;
  /** True where the client showed a certificate that `tls.clientCa` signed. */
  certified?: boolean;
  /** The request target exactly as sent (RFC 9112, 3.2): origin-form, absolute-form or "*". With HTTP/2, `:path`. */
  target: string;
}

/**
 * Answers a request.
 *
 * `request.url` is absolute: made of scheme, Host and target, or the target itself when that is absolute-form (RFC 9112,
 * 3.2.2). Escapes in path and query stay as they were sent; dot segments are resolved, as WHATWG URL rules.
 * `request.signal` aborts when the client goes away before it has the whole answer. The body of the response is cancelled
 * then; if it errors, the connection (HTTP/1.1) or stream (HTTP/2) is reset, so that no client takes a part for the whole.
 */
export type FetchHandler = (request: Request, env: RequestEnv) => Response | Promise<Response>;

/** A handler of the Node kind. It answers, or calls `next()` (before it reads the body) to give the request to `fetch`. */
export type NodeHandler = (
  req: IncomingMessage | Http2ServerRequest,
  res: ServerResponse | Http2ServerResponse,
  next: () => void,
) => void;

/** Takes over the connection of a CONNECT request (RFC 9110, 9.3.6; HTTP/1.1 only). It closes `socket`. */
export type TunnelHandler = (req: IncomingMessage, socket: Duplex, head: Buffer, env: RequestEnv) => void;

/**
 * Decides whether this listener answers a CONNECT as the target itself: the context to speak TLS with, or undefined for
 * a tunnel. `host` is lower case, without brackets.
 */
export type InterceptRule = (target: { host: string; port: number }, env: RequestEnv) => SecureContext | undefined;

/** Options of {@link serve}. Durations are milliseconds, sizes bytes. */
export interface ServeOptions {
  /** Address or name to listen on. */
  host: string;
  /** 0 takes any free port. */
  port: number;
  fetch: FetchHandler;
  /** Sees each request first. */
  node?: NodeHandler;
  /** Requests that are answered on the socket itself, in clear and by HTTP/1.1; what it declines goes to `fetch`. */
  direct?: DirectRoute;
  /** Without it CONNECT is answered with 405. */
  tunnel?: TunnelHandler;
  /**
   * Asked about each CONNECT before `tunnel`. Requests inside go to `fetch` with the target in absolute form, whatever
   * Host they name: `https://` and the authority of the CONNECT. HTTP/1.1 alone is spoken there.
   */
  intercept?: InterceptRule;
  /**
   * PEM texts. With them the port speaks TLS only. With `clientCa` clients are asked for a certificate; those without a
   * right one are served all the same, and `RequestEnv.certified` tells.
   */
  tls?: { cert: string; key: string; clientCa?: string };
  /** Limit of a request's head; beyond it the answer is 431. @default 32768 */
  maxHeaderBytes?: number;
  /** Longest wait for a request's whole head, and for the first byte of a connection. @default 15000 */
  headersTimeoutMs?: number;
  /** How long a connection without requests is kept. @default 75000 */
  idleTimeoutMs?: number;
  /**
   * A response of which no byte moves for so long is reset, and so is a request whose body stalls for so long while its
   * handler waits: slow clients cannot pin memory for ever. @default 120000
   */
  sendTimeoutMs?: number;
  log?: Logger;
}

/** A running listener. */
export interface Listener extends AsyncDisposable {
  readonly host: string;
  /** The port that was bound. */
  readonly port: number;
  /** `http://host:port` or `https://host:port`, without a final slash. */
  readonly url: string;
  /**
   * Stops accepting, lets running requests and tunnels finish for up to `graceMs` (default 10000), then cuts them.
   * Resolves when every connection is gone. Called again it joins, and a shorter grace wins.
   */
  close(options?: { graceMs?: number }): Promise<void>;
}

/**
 * Starts to listen.
 *
 * @throws the runtime's error when the address cannot be bound (EADDRINUSE, EACCES) or the certificate is unusable
 * @example
 * await using listener = await serve({ host: "127.0.0.1", port: 0, fetch: () => new Response("hello\n") });
 */
export async function serve(options: ServeOptions): Promise<Listener> {
  const {
    host,
    port,
    tls,
    log,
    maxHeaderBytes = 32 * 1024,
    headersTimeoutMs = 15_000,
    idleTimeoutMs = 75_000,
    sendTimeoutMs = 120_000,
  } = options;
  const h1Options = {
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: headersTimeoutMs,
    keepAliveTimeout: idleTimeoutMs,
    // Bodies may take as long as they like while bytes come; Connections looks after stalls.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.min(headersTimeoutMs, 5_000),
  };
  const h1 =
    tls === undefined
      ? http.createServer(h1Options)
      : https.createServer({
          ...h1Options,
          cert: tls.cert,
          key: tls.key,
          ...(tls.clientCa === undefined ? {} : { ca: tls.clientCa, requestCert: true, rejectUnauthorized: false }),
          handshakeTimeout: headersTimeoutMs,
          ALPNProtocols: ["h2", "http/1.1"],
        });
  h1.timeout = sendTimeoutMs;
  const h2 = http2.createServer({
    settings: { maxHeaderListSize: maxHeaderBytes, maxConcurrentStreams: 256 },
  });
  const connections = new Connections({ h1, h2, headersTimeoutMs, idleTimeoutMs, sendTimeoutMs });
  const direct = options.direct && {
    ...{ route: options.direct, idleTimeoutMs, sendTimeoutMs },
    onError: (error: unknown, target: string) => log?.warn("response body failed", { target, error }),
  };
  const { serveHttp1 } = splitProtocols(h1, h2, connections, direct);
  const dispatcher = createDispatcher({ ...options, maxHeaderBytes, sendTimeoutMs, connections, serveHttp1 });
  h1.on("request", dispatcher.request);
  h2.on("request", dispatcher.request);
  h1.on("connect", dispatcher.connect);
  h1.on("clientError", dispatcher.clientError);

  await listening(h1, { host, port });
  keepAccepting(h1);
  h1.on("error", (error) => log?.error("listener failed", { error }));
  const address = h1.address();
  const bound = typeof address === "object" && address !== null ? address.port : port;
  const authority = host.includes(":") ? `[${host}]:${bound}` : `${host}:${bound}`;
  const close = ({ graceMs = 10_000 }: { graceMs?: number } = {}) => connections.close({ graceMs });
  return {
    host,
    port: bound,
    url: `${tls === undefined ? "http" : "https"}://${authority}`,
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}

/**
 * Connections that the kernel may complete ahead of this process; it takes fewer if net.core.somaxconn says so. Node
 * accepts one in each turn of its loop: a burst beyond its own default, 511, is refused where turns are long.
 */
const BACKLOG = 4096;

function listening(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host, backlog: BACKLOG }, () => {
      server.removeListener("error", reject);
      resolve();
    });
  });
}
