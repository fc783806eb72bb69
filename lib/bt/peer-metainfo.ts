/**
 * Metainfo from a peer that has the whole blob: used when no seeder answers. The digest of the whole secures it.
 * @module
 */
import type { HttpClient } from "../http/client.ts";
import { readBytes } from "../http/read-bytes.ts";
import type { Digest } from "../registry/digest.ts";
import { decodeMetainfo, type Metainfo } from "./metainfo.ts";
import type { PeerEndpoint } from "./sources/connection.ts";
import { authority } from "./sources/http-source.ts";

const MAX_BYTES = 64 * 1024 * 1024;

/** @returns undefined when the peer has none, does not answer in time, or answers nonsense. */
export async function fetchPeerMetainfo(
  http: Pick<HttpClient, "request">,
  {
    peer,
    digest,
    timeoutMs,
    signal,
  }: { peer: PeerEndpoint; digest: Digest /** For the whole answer, ms. */; timeoutMs: number; signal: AbortSignal },
): Promise<Metainfo | undefined> {
  const url = new URL(`${peer.secure ? "https" : "http"}://${authority(peer)}/p2p/v1/blobs/${digest}/metainfo`);
  try {
    const response = await http.request(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]) });
    if (response.status !== 200) {
      response.body.destroy();
      return undefined;
    }
    const metainfo = decodeMetainfo(await readBytes(response.body, MAX_BYTES));
    return metainfo.id === digest.hex ? metainfo : undefined;
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}
