/**
 * The routes by which a host offers its blobs to others (docs/design.md, "Peer HTTP"). The proxy's peer port and the
 * seeder's port have the same. What Eagle's hosts ask most is answered by `peer-direct.ts` wherever it can be.
 * @module
 */
import { type Context, Hono } from "hono";
import type { Handle } from "../cache/index.ts";
import { isPartRequest } from "../cluster/received.ts";
import { WEB_SEED_PARAMETER } from "../cluster/web-seed-token.ts";
import { bodyResponse } from "../http/direct-body.ts";
import { rangeResponse } from "../http/file-response.ts";
import { parseRange } from "../http/ranges.ts";
import { BodyTooLargeError, readBytes } from "../http/read-bytes.ts";
import type { RequestEnv } from "../http/server.ts";
import { type Digest, parseDigest } from "../registry/digest.ts";
import { ociError } from "../registry/errors.ts";
import { BlobError } from "./errors.ts";
import type { LiveBlob } from "./live-blob.ts";
import { encodeMetainfo } from "./metainfo.ts";
import {
  BadBitfieldError,
  BYTES_TYPE,
  bytesOf,
  hasAll,
  LIST_TYPE,
  listOf,
  nextFor,
  offered,
  type PeerOfferInit,
  pieceHeaders,
} from "./peer-offer.ts";
import { HEADER, parsePeerHeader } from "./wire-format.ts";

/** A bitfield of the largest piece list. */
const MAX_BITFIELD = 512 * 1024;

type Env = { Bindings: RequestEnv };

/** A fetch handler for `/p2p/v1/blobs/...`. */
export function peerRoutes(init: PeerOfferInit): Hono<Env> {
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
  init: PeerOfferInit,
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
  const handle = await offered(init, digest, {
    isPart: () => init.cluster !== undefined && isPartRequest(init.cluster, c.req.raw, c.env),
    ...(isWebSeed && { token: () => c.req.query(WEB_SEED_PARAMETER) ?? "" }),
    signal: c.req.raw.signal,
  });
  if (!handle) return ociError(404, "BLOB_UNKNOWN", `${digest} is not offered here`);
  try {
    return await serve(handle);
  } catch (error) {
    handle.release();
    if (error instanceof BlobError) return ociError(404, "BLOB_UNKNOWN", `${digest} is not offered here any more`);
    throw error;
  }
}

/** GET and HEAD of a range; a range that is exactly one piece carries its hash. */
async function servePieces(init: PeerOfferInit, c: Context<Env>, handle: Handle<LiveBlob>): Promise<Response> {
  const { link } = init;
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
    contentType: BYTES_TYPE,
    headers: pieceHeaders(blob, start, end),
    open: (from, to) => {
      opened = true;
      return bytesOf(init, handle, { start: from, end: to, isEagle });
    },
  });
  if (!opened) handle.release();
  return response;
}

function serveAvailability(init: PeerOfferInit, c: Context<Env>, handle: Handle<LiveBlob>): Response {
  const headers = { "content-type": LIST_TYPE, "cache-control": "no-store" };
  // Hono makes a HEAD of every GET and drops the body, which would then never be closed.
  if (c.req.raw.method === "HEAD") {
    handle.release();
    return new Response(null, { headers });
  }
  return bodyResponse(listOf(init, handle, { peer: c.req.header(HEADER.peer), host: c.env.remoteAddress }), {
    headers,
  });
}

function serveMetainfo(handle: Handle<LiveBlob>): Response {
  const metainfo = handle.blob.verified ? handle.blob.metainfo() : undefined;
  handle.release();
  if (!metainfo) return ociError(404, "BLOB_UNKNOWN", "the whole is not verified here");
  return new Response(encodeMetainfo(metainfo) as Uint8Array<ArrayBuffer>, {
    headers: { "content-type": "application/x-bittorrent" },
  });
}

async function serveNext(init: PeerOfferInit, c: Context<Env>, handle: Handle<LiveBlob>): Promise<Response> {
  let body: Uint8Array;
  try {
    body = await readBytes(c.req.raw.body, MAX_BITFIELD);
  } catch (error) {
    if (!(error instanceof BodyTooLargeError)) throw error;
    handle.release();
    return ociError(413, "SIZE_INVALID", "the bitfield is too large");
  }
  const next = await nextFor(init, handle, {
    body,
    header: (name) => c.req.header(name),
    env: c.env,
    signal: c.req.raw.signal,
  });
  if (next === undefined) return new Response(null, { status: 204 });
  if (next instanceof BadBitfieldError) return ociError(400, "SIZE_INVALID", next.message);
  const { piece, length, head, body: bytes } = next;
  return bodyResponse(bytes, {
    status: 206,
    headers: { "content-type": BYTES_TYPE, "content-length": String(length), [HEADER.piece]: String(piece), ...head },
  });
}
