/**
 * What a host offers to others (docs/design.md, "Peer HTTP"): bytes of verified pieces, of blobs that anyone may read
 * to anyone, of the others to parts of the same cluster, and to who has a token for the blob.
 * The proxy's peer port and the seeder's port have the same routes.
 * @module
 */
import { type Context, Hono } from "hono";
import type { Handle } from "../cache/index.ts";
import { ClusterAuth } from "../cluster/cluster-auth.ts";
import { isPartRequest } from "../cluster/received.ts";
import { WEB_SEED_PARAMETER } from "../cluster/web-seed-token.ts";
import { bodyResponse } from "../http/direct-body.ts";
import { rangeResponse } from "../http/file-response.ts";
import { parseRange } from "../http/ranges.ts";
import { BodyTooLargeError, readBytes } from "../http/read-bytes.ts";
import type { RequestEnv } from "../http/server.ts";
import { type Digest, parseDigest } from "../registry/digest.ts";
import { ociError } from "../registry/errors.ts";
import { availabilitySource } from "./availability-source.ts";
import { Bitfield } from "./bitfield.ts";
import type { BufferPool } from "./buffer-pool.ts";
import { BlobError } from "./errors.ts";
import type { RateLimiter } from "./limiter.ts";
import type { LiveBlob } from "./live-blob.ts";
import { encodeMetainfo } from "./metainfo.ts";
import { pieceSource } from "./piece-source.ts";
import type { Precedence } from "./precedence.ts";
import { PARK_MS, type Uploader } from "./uploader.ts";
import { HEADER, parsePeerHeader } from "./wire-format.ts";

/** A bitfield of the largest piece list. */
const MAX_BITFIELD = 512 * 1024;

/** What the routes need. */
export interface PeerRoutesInit {
  readonly blobs: { peek(digest: Digest, options?: { signal?: AbortSignal }): Promise<Handle<LiveBlob> | undefined> };
  readonly uploader: Uploader;
  /** Tells the cluster's own parts. @default everybody is a stranger */
  readonly cluster?: ClusterAuth;
  readonly limiter: RateLimiter;
  /** Hosts of Eagle before readers of the web seed. @default all alike */
  readonly precedence?: Precedence;
  /** Buffers that bodies are read into. */
  readonly buffers: BufferPool;
  /** Aborts when this host stops: open lists of pieces end, and requests that wait for a piece. */
  readonly stopping?: AbortSignal;
  /**
   * A link by which anybody reads a stored blob past this host: who reads it as a web seed (BEP 19) is sent there.
   * Eagle's own hosts ask for single pieces and are not.
   */
  link?(id: string): Promise<URL | undefined>;
  /** Bytes that went to another host. */
  onBytes?(bytes: number): void;
  /** Another host follows what this one has, and can be asked for what it has itself. */
  onPeer?(digest: Digest, peer: { host: string; port: number; peerId: string }): void;
  /** What another host has, as it told this one: pieces it need not be told of. */
  piecesOf?(digest: Digest, peer: { host: string; port: number }): Bitfield | undefined;
}

type Env = { Bindings: RequestEnv };

/** A fetch handler for `/p2p/v1/blobs/...`. */
export function peerRoutes(init: PeerRoutesInit): Hono<Env> {
  const app = new Hono<Env>();
  const base = "/p2p/v1/blobs/:digest";
  app.get(base, (c) => withBlob(init, c, (handle) => servePieces(init, c, handle), { isWebSeed: true }));
  app.get(`${base}/pieces`, (c) => withBlob(init, c, (handle) => serveAvailability(init, c, handle)));
  app.get(`${base}/metainfo`, (c) => withBlob(init, c, (handle) => serveMetainfo(handle)));
  app.post(`${base}/next`, (c) => withBlob(init, c, (handle) => serveNext(init, c, handle)));
  return app;
}

/** Finds a blob that may be offered. The handler releases the handle, or hands it to the body it returns. */
async function withBlob(
  { blobs, cluster = new ClusterAuth() }: PeerRoutesInit,
  c: Context<Env>,
  serve: (handle: Handle<LiveBlob>) => Response | Promise<Response>,
  { isWebSeed = false }: { isWebSeed?: boolean } = {},
): Promise<Response> {
  let digest: Digest;
  try {
    digest = parseDigest(c.req.param("digest") ?? "");
  } catch (error) {
    return ociError(400, "DIGEST_INVALID", (error as Error).message);
  }
  const handle = await blobs.peek(digest, { signal: c.req.raw.signal });
  const mayHave = ({ isPublic }: LiveBlob) =>
    isPublic ||
    isPartRequest(cluster, c.req.raw, c.env) ||
    (isWebSeed && cluster.isWebSeedToken(c.req.query(WEB_SEED_PARAMETER) ?? "", digest.toString()));
  // To a stranger a private blob is one that is not here.
  if (!handle || handle.blob.error || handle.blob.removed || !mayHave(handle.blob)) {
    handle?.release();
    return ociError(404, "BLOB_UNKNOWN", `${digest} is not offered here`);
  }
  try {
    return await serve(handle);
  } catch (error) {
    handle.release();
    if (error instanceof BlobError) return ociError(404, "BLOB_UNKNOWN", `${digest} is not offered here any more`);
    throw error;
  }
}

/** GET and HEAD of a range; a range that is exactly one piece carries its hash. */
async function servePieces(
  { limiter, buffers, precedence, onBytes, link }: PeerRoutesInit,
  c: Context<Env>,
  handle: Handle<LiveBlob>,
): Promise<Response> {
  const { blob } = handle;
  const { layout, have } = blob;
  const range = layout && parseRange(c.req.header("range") ?? null, layout.size);
  const [start, end] = range?.kind === "range" ? [range.start, range.end] : [0, layout?.size ?? 0];
  if (!layout || !have || !hasAll(blob, start, end)) {
    handle.release();
    return ociError(404, "BLOB_UNKNOWN", `${blob.digest}: these pieces are not here`);
  }
  const isEagle = parsePeerHeader(c.req.header(HEADER.peer)) !== undefined;
  if (link && blob.committed && blob.isPublic && c.req.raw.method === "GET" && !isEagle) {
    // Whatever hinders it, the bytes are here as well.
    const elsewhere = await link(blob.id).catch(() => undefined);
    if (elsewhere) {
      handle.release();
      return new Response(null, { status: 307, headers: { location: elsewhere.href, "cache-control": "no-store" } });
    }
  }
  let opened = false;
  const response = rangeResponse(c.req.raw, {
    size: layout.size,
    etag: blob.digest.toString(),
    contentType: "application/octet-stream",
    headers: pieceHeaders(blob, start, end),
    open: (from, to) => {
      opened = true;
      const served = isEagle ? precedence?.own(to - from) : undefined;
      return pieceSource(blob, {
        start: from,
        end: to,
        limiter,
        buffers,
        ...(precedence && !isEagle ? { turn: (bytes, signal) => precedence.turn(bytes, signal) } : {}),
        ...(onBytes ? { onBytes } : {}),
        onClose: () => {
          served?.();
          handle.release();
        },
      });
    },
  });
  if (!opened) handle.release();
  return response;
}

function pieceHeaders(blob: LiveBlob, start: number, end: number): Record<string, string> {
  const layout = blob.layout!;
  const piece = layout.pieceAt(start);
  const hash = layout.start(piece) === start && layout.end(piece) === end ? blob.hashes?.get(piece) : undefined;
  return hash ? { [HEADER.sha1]: Buffer.from(hash).toString("hex") } : {};
}

function hasAll(blob: LiveBlob, start: number, end: number): boolean {
  const layout = blob.layout!;
  if (blob.verified) return true;
  for (let piece = layout.pieceAt(start); piece < layout.count && layout.start(piece) < end; piece++) {
    if (!blob.have!.has(piece)) return false;
  }
  return true;
}

function serveAvailability(
  { onPeer, piecesOf, stopping }: PeerRoutesInit,
  c: Context<Env>,
  handle: Handle<LiveBlob>,
): Response {
  const peer = parsePeerHeader(c.req.header(HEADER.peer));
  const headers = { "content-type": "application/x-ndjson", "cache-control": "no-store" };
  // Hono makes a HEAD of every GET and drops the body, which would then never be closed.
  if (c.req.raw.method === "HEAD") {
    handle.release();
    return new Response(null, { headers });
  }
  const { blob } = handle;
  const asker = peer && { host: c.env.remoteAddress, ...peer };
  if (asker) onPeer?.(blob.digest, asker);
  const source = availabilitySource(blob, {
    onClose: () => handle.release(),
    stopping,
    known: () => asker && piecesOf?.(blob.digest, asker),
  });
  return bodyResponse(source, { headers });
}

function serveMetainfo(handle: Handle<LiveBlob>): Response {
  const metainfo = handle.blob.committed ? handle.blob.metainfo() : undefined;
  handle.release();
  if (!metainfo) return ociError(404, "BLOB_UNKNOWN", "the metainfo is not complete here");
  return new Response(encodeMetainfo(metainfo) as Uint8Array<ArrayBuffer>, {
    headers: { "content-type": "application/x-bittorrent" },
  });
}

/** Waits for the layout as long as a request may park. */
async function hasLayout(blob: LiveBlob, signal: AbortSignal): Promise<boolean> {
  if (blob.layout) return true;
  const late = AbortSignal.timeout(PARK_MS);
  try {
    await blob.waitFor(() => blob.layout !== undefined, AbortSignal.any([signal, late]));
    return true;
  } catch (error) {
    if (signal.aborted || !late.aborted) throw error;
    return false;
  }
}

async function serveNext(init: PeerRoutesInit, c: Context<Env>, handle: Handle<LiveBlob>): Promise<Response> {
  const { blob } = handle;
  const signal = c.req.raw.signal;
  let body: Uint8Array;
  try {
    body = await readBytes(c.req.raw.body, MAX_BITFIELD);
  } catch (error) {
    if (!(error instanceof BodyTooLargeError)) throw error;
    handle.release();
    return ociError(413, "SIZE_INVALID", "the bitfield is too large");
  }
  if (!(await hasLayout(blob, signal))) {
    handle.release();
    return new Response(null, { status: 204 });
  }
  let asked: Bitfield;
  try {
    asked = new Bitfield(blob.layout!.count, body);
  } catch (error) {
    handle.release();
    return ociError(400, "SIZE_INVALID", (error as Error).message);
  }
  const asker = parsePeerHeader(c.req.header(HEADER.peer))?.peerId;
  const upload = await init.uploader.next(blob, {
    asked,
    want: wholeNumber(c.req.header(HEADER.want)),
    asker,
    // A host of Eagle asks by HTTP/1.1, and again as soon as it has what it was sent.
    connection: asker && `${c.env.remoteAddress} ${c.env.remotePort}`,
    signal,
  });
  if (!upload) {
    handle.release();
    return new Response(null, { status: 204 });
  }
  const layout = blob.layout!;
  const [start, end] = [layout.start(upload.piece), layout.end(upload.piece)];
  const served = init.precedence?.own(end - start);
  const sent = pieceSource(blob, {
    start,
    end,
    limiter: init.limiter,
    buffers: init.buffers,
    ...(init.onBytes ? { onBytes: init.onBytes } : {}),
    onClose: (end) => {
      upload.done(end);
      served?.();
      handle.release();
    },
  });
  return bodyResponse(sent, {
    status: 206,
    headers: {
      "content-type": "application/octet-stream",
      "content-length": String(end - start),
      "content-range": `bytes ${start}-${end - 1}/${layout.size}`,
      [HEADER.piece]: String(upload.piece),
      ...pieceHeaders(blob, start, end),
    },
  });
}

/** The number in a header; undefined where there is none, or something else. */
function wholeNumber(header: string | undefined): number | undefined {
  return header !== undefined && /^[0-9]{1,9}$/.test(header) ? Number(header) : undefined;
}
