/**
 * @module
 * CONNECT (RFC 9110, 9.3.6): joins a client's connection to another one, byte for byte.
 */

import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Logger } from "../log/log.ts";
import type { RequestEnv, TunnelHandler } from "./server.ts";

/** Options of {@link createTunnelHandler}. Durations are milliseconds. */
export interface TunnelOptions {
  /**
   * Decides about a target, and about who asks. `host` is lower case, without brackets. A rejection counts as a refusal.
   */
  allow(host: string, port: number, env: RequestEnv): boolean | Promise<boolean>;
  /** Longest wait for the target's connection. @default 5000 */
  connectTimeoutMs?: number;
  /** A tunnel through which no byte moves in either direction for so long is closed. @default 600000 */
  idleTimeoutMs?: number;
  log?: Logger;
}

/** Most bytes a client may send before its tunnel stands; beyond that it is not read. */
const HEAD_LIMIT = 64 * 1024;

/**
 * Makes a handler for CONNECT requests: 200 and a tunnel, 400 for a malformed target, 403 for one that is not allowed, 502
 * for one that cannot be reached, 504 for one that does not answer. When one side has finished sending, the other may go
 * on (half-close).
 */
export function createTunnelHandler({
  allow,
  connectTimeoutMs = 5_000,
  idleTimeoutMs = 600_000,
  log,
}: TunnelOptions): TunnelHandler {
  return (req, socket, head, env) => {
    socket.on("error", () => {});
    const target = parseAuthority(req.url ?? "");
    if (target === undefined || head.length > HEAD_LIMIT) {
      refuse(socket, "400 Bad Request");
      return;
    }
    const open = async () => {
      const allowed = await Promise.resolve(allow(target.host, target.port, env)).catch((error: unknown) => {
        log?.error("tunnel rule failed", { target: req.url, error });
        return false;
      });
      if (socket.destroyed) {
        return;
      }
      if (!allowed) {
        log?.info("tunnel refused", { target: req.url });
        refuse(socket, "403 Forbidden");
        return;
      }
      join(socket, head, { ...target, connectTimeoutMs, idleTimeoutMs, log });
    };
    open().catch((error: unknown) => {
      log?.error("tunnel handler failed", { target: req.url, error });
      socket.destroy();
    });
  };
}

interface JoinInit {
  host: string;
  port: number;
  connectTimeoutMs: number;
  idleTimeoutMs: number;
  log: Logger | undefined;
}

function join(client: Duplex, head: Buffer, { host, port, connectTimeoutMs, idleTimeoutMs, log }: JoinInit): void {
  const upstream = connect({ host, port, allowHalfOpen: true });
  let joined = false;
  const giveUp = (status: string, error?: Error) => {
    clearTimeout(timer);
    upstream.destroy();
    if (joined) {
      client.destroy();
    } else if (!client.destroyed) {
      log?.info("tunnel target unreachable", { host, port, error });
      refuse(client, status);
    }
  };
  const timer = setTimeout(() => giveUp("504 Gateway Timeout"), connectTimeoutMs);
  client.once("close", () => {
    clearTimeout(timer);
    upstream.destroy();
  });
  upstream.on("error", (error: Error) => giveUp("502 Bad Gateway", error));
  upstream.once("connect", () => {
    clearTimeout(timer);
    joined = true;
    client.write("HTTP/1.1 200 Connection Established\r\n\r\n");
    if (head.length > 0) {
      upstream.write(head);
    }
    closeWhenIdle(upstream, client, idleTimeoutMs);
    // pipe() passes on an end as an end of that direction alone, which is the half-close.
    client.pipe(upstream);
    upstream.pipe(client);
  });
  // A target that has sent its end and taken ours is closed; the client then has no more to wait for.
  upstream.once("close", () => {
    if (joined && !client.writableEnded) {
      client.destroy();
    }
  });
}

/** The upstream socket takes part in either direction, so its own timer sees all traffic. */
function closeWhenIdle(upstream: Socket, client: Duplex, idleTimeoutMs: number): void {
  upstream.setTimeout(idleTimeoutMs, () => {
    upstream.destroy();
    client.destroy();
  });
}

function refuse(socket: Duplex, status: string): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  socket.end(`HTTP/1.1 ${status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`, () => socket.destroy());
}

const AUTHORITY = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9](?:[a-z0-9._-]*[a-z0-9.])?)):(\d{1,5})$/;

/** Reads authority-form (RFC 9112, 3.2.3): `host:port`, IPv6 in brackets; the port is required. */
export function parseAuthority(text: string): { host: string; port: number } | undefined {
  const match = text.length > 300 ? null : AUTHORITY.exec(text.toLowerCase());
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port < 1 || port > 65_535 ? undefined : { host, port };
}

/** Undoes {@link parseAuthority}. */
export function authorityText({ host, port }: { host: string; port: number }): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
