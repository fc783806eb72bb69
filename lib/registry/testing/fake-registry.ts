/**
 * Registries, token servers and CDNs that misbehave to order, on loopback: for tests alone.
 * @module
 */
import http from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** One request a fake server got. */
export interface SeenRequest {
  method: string;
  url: string;
  headers: http.IncomingHttpHeaders;
  body: string;
}

/** A server on a free loopback port; what it does is a function. */
export interface FakeServer extends AsyncDisposable {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  /** `127.0.0.1:<port>` */
  readonly authority: string;
  readonly seen: SeenRequest[];
  close(): Promise<void>;
}

/** Starts a server; `answer` may do to the response, and its socket, what it wants. */
export async function fakeServer(
  answer: (req: http.IncomingMessage, res: http.ServerResponse, seen: SeenRequest) => unknown,
): Promise<FakeServer> {
  const sockets = new Set<Socket>();
  const seen: SeenRequest[] = [];
  const server = http.createServer((req, res) => {
    const chunks: Uint8Array[] = [];
    req.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    req.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      const record = { method: req.method ?? "", url: req.url ?? "", headers: req.headers, body };
      seen.push(record);
      answer(req, res, record);
    });
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const authority = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { url: `http://${authority}`, authority, seen, close, [Symbol.asyncDispose]: close };
}

/** How {@link serveBlob} answers. */
export interface BlobManners {
  /** Answer Range with 206. @default true */
  range?: boolean;
  /** Body bytes sent before the connection is cut. */
  cutAfter?: number;
  /** Body bytes sent before silence. */
  stallAfter?: number;
  /** Chunked, without Content-Length. */
  chunked?: boolean;
  /** What to claim as the size of the whole. */
  claimedSize?: number;
}

/** Answers a GET or HEAD of a blob, Range included, with the given manners. */
export function serveBlob(
  req: http.IncomingMessage,
  res: http.ServerResponse,
  blob: Uint8Array,
  { range = true, cutAfter, stallAfter, chunked = false, claimedSize = blob.length }: BlobManners = {},
): void {
  const match = range ? /^bytes=(\d+)-(\d*)$/.exec(req.headers.range ?? "") : null;
  const start = match === null ? 0 : Number(match[1]);
  const end = match === null || match[2] === "" ? blob.length : Math.min(Number(match[2]) + 1, blob.length);
  if (match !== null && start >= blob.length) {
    res.writeHead(416, { "content-range": `bytes */${claimedSize}`, "content-length": 0 });
    res.end();
    return;
  }
  const body = blob.subarray(start, end);
  const whole = claimedSize - blob.length + body.length;
  res.writeHead(match === null ? 200 : 206, {
    ...(chunked ? {} : { "content-length": match === null ? whole : body.length }),
    ...(match === null ? {} : { "content-range": `bytes ${start}-${end - 1}/${claimedSize}` }),
  });
  if (req.method === "HEAD") {
    res.end();
    return;
  }
  const stop = cutAfter ?? stallAfter;
  if (stop === undefined || stop >= body.length) {
    res.end(body);
    return;
  }
  res.write(body.subarray(0, stop), () => {
    // Destroying at once would throw away what the kernel has not sent yet.
    if (cutAfter !== undefined) setTimeout(() => res.destroy(), 5);
  });
}

/** Bytes that differ everywhere: a shifted or repeated piece does not pass for the right one. */
export function patternBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (Math.imul(i, 2654435761) >>> 13) & 0xff;
  return bytes;
}

/** Reads a body to its end. */
export async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(Uint8Array.from(chunk));
  return Buffer.concat(chunks);
}
