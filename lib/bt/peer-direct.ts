/**
 * What Eagle's hosts ask each other a hundred times a second, answered the short way (`direct-requests.ts`): pieces by
 * name, pieces of the uploader's choice, lists of pieces. Refusals and all else are left to `peer-routes.ts`.
 * @module
 */
import type { Handle } from "../cache/index.ts";
import { AS_HEADER } from "../cluster/cluster-auth.ts";
import type { DirectAnswer, DirectRequest, DirectRoute } from "../http/direct-requests.ts";
import { isDigest, parseDigest } from "../registry/digest.ts";
import type { LiveBlob } from "./live-blob.ts";
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

const BASE = "/p2p/v1/blobs/";
const HEADERS = new Set<string>([HEADER.peer, HEADER.want, "range", "authorization", AS_HEADER]);
const RANGE = /^bytes=([0-9]{1,15})-([0-9]{1,15})$/;

type Serve = (
  init: PeerOfferInit,
  handle: Handle<LiveBlob>,
  request: DirectRequest,
) => DirectAnswer | undefined | Promise<DirectAnswer | undefined>;

/** See the module. */
export function peerDirect(init: PeerOfferInit): DirectRoute {
  return {
    headers: HEADERS,
    answer(request) {
      if (!request.target.startsWith(BASE)) return undefined;
      const [digest = "", route = ""] = request.target.slice(BASE.length).split("/", 2);
      const serve = SERVES[`${request.method} ${route}`];
      // Only Eagle's hosts say who they are, and need no more than what is here.
      if (!serve || !isDigest(digest) || !parsePeerHeader(request.headers.get(HEADER.peer))) return undefined;
      if (request.target.length !== BASE.length + digest.length + (route === "" ? 0 : route.length + 1))
        return undefined;
      return answer(init, request, { digest, serve });
    },
  };
}

const SERVES: Readonly<Record<string, Serve>> = { "GET ": servePiece, "GET pieces": serveList, "POST next": serveNext };

async function answer(
  init: PeerOfferInit,
  request: DirectRequest,
  { digest, serve }: { digest: string; serve: Serve },
): Promise<DirectAnswer | undefined> {
  const { signal } = request;
  const handle = await offered(init, parseDigest(digest), { isPart: () => isPart(init, request), signal });
  if (!handle) return undefined;
  try {
    const answer = await serve(init, handle, request);
    if (!answer) handle.release();
    return answer;
  } catch {
    // What failed will fail the general way as well, which says how.
    handle.release();
    return undefined;
  }
}

function isPart({ cluster }: PeerOfferInit, { method, target, headers, env }: DirectRequest): boolean {
  if (!cluster?.closed) return false;
  const [authority, authorization, as] = [
    headers.get("host") ?? "",
    headers.get("authorization"),
    headers.get(AS_HEADER),
  ];
  return cluster.isPart({ method, authority, target, authorization, as }, env);
}

function servePiece(
  init: PeerOfferInit,
  handle: Handle<LiveBlob>,
  { headers }: DirectRequest,
): DirectAnswer | undefined {
  const { blob } = handle;
  const range = RANGE.exec(headers.get("range") ?? "");
  const { layout } = blob;
  if (!range || !layout || !blob.have) return undefined;
  const [start, end] = [Number(range[1]), Number(range[2]) + 1];
  if (start >= end || end > layout.size || !hasAll(blob, start, end)) return undefined;
  const head = { "content-range": `bytes ${start}-${end - 1}/${layout.size}`, ...pieceHeaders(blob, start, end) };
  return bytesAnswer(head, { length: end - start, body: bytesOf(init, handle, { start, end, isEagle: true }) });
}

function serveList(init: PeerOfferInit, handle: Handle<LiveBlob>, { headers, env }: DirectRequest): DirectAnswer {
  return {
    status: 200,
    head: `content-type: ${LIST_TYPE}\r\ncache-control: no-store\r\n`,
    body: listOf(init, handle, { peer: headers.get(HEADER.peer), host: env.remoteAddress }),
  };
}

async function serveNext(
  init: PeerOfferInit,
  handle: Handle<LiveBlob>,
  { headers, body, env, signal }: DirectRequest,
): Promise<DirectAnswer | undefined> {
  const next = await nextFor(init, handle, { body, header: (name) => headers.get(name), env, signal });
  if (next === undefined) return { status: 204, head: "" };
  if (next instanceof BadBitfieldError) return undefined;
  return bytesAnswer({ [HEADER.piece]: String(next.piece), ...next.head }, next);
}

function bytesAnswer(
  head: Record<string, string>,
  { length, body }: Required<Pick<DirectAnswer, "length" | "body">>,
): DirectAnswer {
  let lines = `content-type: ${BYTES_TYPE}\r\n`;
  for (const name in head) lines += `${name}: ${head[name]}\r\n`;
  return { status: 206, head: lines, length, body };
}
