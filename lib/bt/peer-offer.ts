/**
 * What a host offers to others, whichever way they ask: bytes of verified pieces, of blobs that anyone may read to anyone,
 * of the others to parts of the same cluster, and to who has a token for the blob.
 * @module
 */
import type { Handle } from "../cache/index.ts";
import { ClusterAuth } from "../cluster/cluster-auth.ts";
import type { BodySource } from "../http/direct-body.ts";
import type { RequestEnv } from "../http/server.ts";
import type { Digest } from "../registry/digest.ts";
import { canonicalIp } from "../tracker/address.ts";
import { availabilitySource } from "./availability-source.ts";
import { Bitfield } from "./bitfield.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { RateLimiter } from "./limiter.ts";
import type { LiveBlob } from "./live-blob.ts";
import { pieceSource } from "./piece-source.ts";
import type { Precedence } from "./precedence.ts";
import { tellAfterMs } from "./tell-after.ts";
import { PARK_MS, type Upload, type Uploader } from "./uploader.ts";
import { HEADER, parsePeerHeader } from "./wire-format.ts";

/** Of bytes of blobs. */
export const BYTES_TYPE = "application/octet-stream";
/** Of lists of pieces. */
export const LIST_TYPE = "application/x-ndjson";

/** What a host needs to offer its blobs. */
export interface PeerOfferInit {
  readonly blobs: { peek(digest: Digest, options?: { signal?: AbortSignal }): Promise<Handle<LiveBlob> | undefined> };
  readonly uploader: Pick<Uploader, "next">;
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
  /** Median ms that a piece of an arriving blob takes to come here; undefined before the first. */
  pieceMs?(digest: Digest): number | undefined;
}

/** Who asks for a blob, as far as that decides what may be offered. */
export interface Asker {
  /** One of the cluster's own parts. */
  isPart(): boolean;
  /** A token in the URL. */
  token?(): string;
  readonly signal: AbortSignal;
}

/** A blob that may be offered; to a stranger a private blob is one that is not here. The caller releases the handle. */
export async function offered(
  { blobs, cluster = new ClusterAuth() }: PeerOfferInit,
  digest: Digest,
  { isPart, token, signal }: Asker,
): Promise<Handle<LiveBlob> | undefined> {
  const handle = await blobs.peek(digest, { signal });
  const mayHave = ({ isPublic }: LiveBlob) =>
    isPublic || isPart() || (token !== undefined && cluster.isWebSeedToken(token(), digest.toString()));
  if (handle && !handle.blob.error && !handle.blob.removed && mayHave(handle.blob)) return handle;
  handle?.release();
  return undefined;
}

/** Bytes of verified pieces; the body releases the handle. @param range.wanted A reader of the asker waits for them. */
export function bytesOf(
  { limiter, buffers, precedence, onBytes }: PeerOfferInit,
  handle: Handle<LiveBlob>,
  {
    start,
    end,
    isEagle,
    wanted = false,
    onClose,
  }: { start: number; end: number; isEagle: boolean; wanted?: boolean; onClose?: (end: "sent" | "left") => void },
): BodySource {
  const served = isEagle ? precedence?.own(end - start) : undefined;
  return pieceSource(handle.blob, {
    start,
    end,
    limiter,
    wanted,
    buffers,
    ...(precedence && !isEagle ? { turn: (bytes, signal) => precedence.turn(bytes, signal) } : {}),
    ...(onBytes ? { onBytes } : {}),
    onClose: (how) => {
      onClose?.(how);
      served?.();
      handle.release();
    },
  });
}

export function pieceHeaders(blob: LiveBlob, start: number, end: number): Record<string, string> {
  const layout = blob.layout!;
  const piece = layout.pieceAt(start);
  const hash = layout.start(piece) === start && layout.end(piece) === end ? blob.hashes?.get(piece) : undefined;
  return hash ? { [HEADER.sha1]: Buffer.from(hash).toString("hex") } : {};
}

export function hasAll(blob: LiveBlob, start: number, end: number): boolean {
  const layout = blob.layout!;
  if (blob.verified) return true;
  for (let piece = layout.pieceAt(start); piece < layout.count && layout.start(piece) < end; piece++) {
    if (!blob.have!.has(piece)) return false;
  }
  return true;
}

/** What this host has, as it grows; the body releases the handle. @param asker.peer Its header, `asker.host` its address. */
export function listOf(
  { onPeer, piecesOf, pieceMs, stopping }: PeerOfferInit,
  handle: Handle<LiveBlob>,
  { peer, host }: { peer: string | undefined; host: string },
): BodySource {
  const { blob } = handle;
  const known = parsePeerHeader(peer);
  // As trackers write it: one host is one neighbour.
  const asker = known && { host: canonicalIp(host) ?? host, ...known };
  if (asker) onPeer?.(blob.digest, asker);
  return availabilitySource(blob, {
    onClose: () => handle.release(),
    stopping,
    known: () => asker && piecesOf?.(blob.digest, asker),
    tellAfter: () => tellAfterMs(pieceMs?.(blob.digest)),
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

/** The bitfield that a request came with is not one of its blob. */
export class BadBitfieldError extends Error {
  override readonly name = "BadBitfieldError";
}

/** A piece that the uploader chose, as it is sent. */
export interface NextPiece {
  readonly piece: number;
  readonly length: number;
  readonly head: Record<string, string>;
  readonly body: BodySource;
}

/**
 * What the uploader gives for a request. The handle is released, or the body does it.
 * @returns undefined where there is nothing; an error that tells what is wrong with the request.
 */
export async function nextFor(
  init: PeerOfferInit,
  handle: Handle<LiveBlob>,
  {
    body,
    header,
    env,
    signal,
  }: { body: Uint8Array; header: (name: string) => string | undefined; env: RequestEnv; signal: AbortSignal },
): Promise<NextPiece | BadBitfieldError | undefined> {
  const { blob } = handle;
  const want = wholeNumber(header(HEADER.want));
  let given: Upload | undefined;
  try {
    if (await hasLayout(blob, signal)) {
      const peer = parsePeerHeader(header(HEADER.peer));
      given = await init.uploader.next(blob, {
        asked: bitfieldOf(blob, body),
        want,
        asker: peer && `${peer.peerId} ${peer.download ?? ""}`,
        // A host of Eagle asks by HTTP/1.1, and again as soon as it has what it was sent.
        connection: peer && `${env.remoteAddress} ${env.remotePort}`,
        signal,
      });
    }
  } catch (error) {
    if (!(error instanceof BadBitfieldError)) throw error;
    handle.release();
    return error;
  }
  if (!given) {
    handle.release();
    return undefined;
  }
  const { piece, done } = given;
  const layout = blob.layout!;
  const [start, end] = [layout.start(piece), layout.end(piece)];
  return {
    piece,
    length: end - start,
    head: { "content-range": `bytes ${start}-${end - 1}/${layout.size}`, ...pieceHeaders(blob, start, end) },
    body: bytesOf(init, handle, { start, end, isEagle: true, wanted: piece === want, onClose: done }),
  };
}

/** @throws BadBitfieldError */
function bitfieldOf(blob: LiveBlob, bytes: Uint8Array): Bitfield {
  try {
    return new Bitfield(blob.layout!.count, bytes);
  } catch (cause) {
    throw new BadBitfieldError((cause as Error).message, { cause });
  }
}

/** The number in a header; undefined where there is none, or something else. */
function wholeNumber(header: string | undefined): number | undefined {
  return header !== undefined && /^[0-9]{1,9}$/.test(header) ? Number(header) : undefined;
}
