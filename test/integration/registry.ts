/**
 * A registry on loopback that counts what it gives away, and misbehaves to order.
 * @module
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** A blob at the registry. */
export interface StoredBlob {
  readonly repository: string;
  readonly digest: string;
  readonly bytes: Uint8Array;
  /** The `Authorization` it takes to read it; none: anyone may. */
  readonly authorization?: string;
  /** Bit flips in the next bodies: each GET takes one number, the position, from the front. */
  readonly flips: number[];
  /** Milliseconds between chunks of 64 KiB. */
  pace?: number;
}

export interface Registry extends AsyncDisposable {
  readonly url: string;
  /** `127.0.0.1:<port>` */
  readonly authority: string;
  readonly port: number;
  /** Requests as `METHOD target`. */
  readonly requests: string[];
  /** Headers of the latest request. */
  latest: IncomingMessage["headers"];
  /** Bytes of blobs sent. */
  sent: number;
  put(bytes: Uint8Array, options?: { repository?: string; authorization?: string; pace?: number }): StoredBlob;
  close(): Promise<void>;
}

/** @param port 0 takes any free one. */
export async function startRegistry(port = 0): Promise<Registry> {
  const blobs = new Map<string, StoredBlob>();
  const sockets = new Set<Socket>();
  const server = createServer((req, res) => {
    registry.requests.push(`${req.method} ${req.url}`);
    registry.latest = req.headers;
    void answer(req, res, blobs, registry);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const bound = (server.address() as AddressInfo).port;
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
    return closed;
  };
  const registry: Registry = {
    url: `http://127.0.0.1:${bound}`,
    authority: `127.0.0.1:${bound}`,
    port: bound,
    requests: [],
    latest: {},
    sent: 0,
    put(bytes, { repository = "library/app", authorization, pace } = {}) {
      const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
      const blob: StoredBlob = {
        repository,
        digest,
        bytes,
        flips: [],
        ...(authorization === undefined ? {} : { authorization }),
        ...(pace === undefined ? {} : { pace }),
      };
      blobs.set(`/v2/${repository}/blobs/${digest}`, blob);
      return blob;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
  return registry;
}

async function answer(
  req: IncomingMessage,
  res: ServerResponse,
  blobs: Map<string, StoredBlob>,
  registry: Registry,
): Promise<void> {
  const path = (req.url ?? "").split("?", 1)[0] ?? "";
  if (path === "/v2/") return void res.writeHead(200, { "content-length": 2 }).end("{}");
  const blob = blobs.get(path);
  if (!blob) {
    const body = JSON.stringify({ errors: [{ code: "NAME_UNKNOWN", message: path }] });
    return void res.writeHead(404, { "content-type": "application/json", "content-length": body.length }).end(body);
  }
  if (blob.authorization !== undefined && req.headers.authorization !== blob.authorization) {
    return void res.writeHead(401, { "www-authenticate": 'Basic realm="test"', "content-length": 0 }).end();
  }
  const size = blob.bytes.length;
  const range = /^bytes=(\d+)-(\d*)$/.exec(req.headers.range ?? "");
  const start = Number(range?.[1] ?? 0);
  const end = range?.[2] ? Math.min(size, Number(range[2]) + 1) : size;
  res.writeHead(range ? 206 : 200, {
    "content-length": end - start,
    "docker-content-digest": blob.digest,
    ...(range ? { "content-range": `bytes ${start}-${end - 1}/${size}` } : {}),
  });
  if (req.method === "HEAD") return void res.end();
  const flip = blob.flips.shift();
  for (let at = start; at < end && !res.destroyed; at += 65536) {
    const chunk = Uint8Array.from(blob.bytes.subarray(at, Math.min(end, at + 65536)));
    if (flip !== undefined && flip >= at && flip < at + chunk.length) chunk[flip - at]! ^= 1;
    registry.sent += chunk.length;
    if (!res.write(chunk)) await drained(res);
    if (blob.pace) await new Promise((resolve) => setTimeout(resolve, blob.pace));
  }
  res.end();
}

function drained(res: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      res.off("drain", done).off("close", done);
      resolve();
    };
    res.on("drain", done).on("close", done);
  });
}
