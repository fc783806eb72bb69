/**
 * @module The answers of the tracker, bencoded.
 *
 * Written here, byte for byte as BEP 3, 7, 23 and 48 want them, since `bittorrent-tracker` encodes binary text as
 * UTF-8: a peer id or a scrape key with a byte above 127 would come out longer than 20 bytes, and no other client
 * could read it.
 */

import { encodeBencode } from "../bencode/bencode.ts";
import { packAddress } from "./address.ts";
import type { StoredPeer, SwarmCounts, SwarmView } from "./store.ts";

/** The answer to an announce. `intervalSeconds`: when to come again. */
export function announceAnswer(
  { complete, incomplete, peers }: SwarmView,
  { intervalSeconds, compact }: { intervalSeconds: number; compact: boolean },
): Uint8Array {
  // One string with a character a byte: by far the cheapest way to write many small fields.
  const head = `d8:completei${complete}e10:incompletei${incomplete}e8:intervali${intervalSeconds}e5:peers`;
  const body = compact ? packed(peers) : `l${peers.map(dictionary).join("")}e`;
  return Buffer.from(`${head}${body}e`, "latin1");
}

/** The answer to a scrape. Trackers of one process do not count downloads: `downloaded` is its lower bound. */
export function scrapeAnswer(keys: readonly string[], counts: readonly SwarmCounts[], interval: number): Uint8Array {
  const files = new Map<string, Map<string, number>>();
  for (const [i, key] of keys.entries()) {
    const { complete, incomplete } = counts[i]!;
    const file = new Map(Object.entries({ complete, downloaded: complete, incomplete }));
    files.set(Buffer.from(key, "hex").toString("latin1"), file);
  }
  const flags = new Map([["min_request_interval", interval]]);
  return encodeBencode(
    new Map<string, Map<string, Map<string, number> | number>>([
      ["files", files],
      ["flags", flags],
    ]),
  );
}

/** The answer when there is none; status 200 all the same (BEP 3). */
export function failureAnswer(reason: string): Uint8Array {
  return encodeBencode(new Map([["failure reason", reason]]));
}

function dictionary({ ip, peerId, port }: StoredPeer): string {
  const id = Buffer.from(peerId, "hex").toString("latin1");
  return `d2:ip${ip.length}:${ip}7:peer id20:${id}4:porti${port}ee`;
}

function packed(peers: readonly StoredPeer[]): string {
  let v4 = "";
  let v6 = "";
  for (const { ip, port } of peers) {
    if (ip.includes(":")) v6 += String.fromCharCode(...packAddress(ip, port));
    else v4 += packed4(ip, port);
  }
  return `${v4.length}:${v4}${v6 === "" ? "" : `6:peers6${v6.length}:${v6}`}`;
}

/** As `packAddress`, without an array between: this runs for each peer of each answer. */
function packed4(ip: string, port: number): string {
  const [a, b, c, d] = ip.split(".");
  return String.fromCharCode(Number(a), Number(b), Number(c), Number(d), port >> 8, port & 255);
}
