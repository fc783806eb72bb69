/** @module Reads the answer to an announce (BEP 3, 7, 23) without believing any of it. */

import { type BencodeValue, decodeBencode } from "../bencode/bencode.ts";
import { canonicalIp, hostPort, isUnicast, PACKED_BYTES, unpackAddress } from "./address.ts";
import { TrackerError } from "./errors.ts";
import { KEY_BYTES } from "./keys.ts";

/** Where a peer listens. */
export interface PeerAddress {
  /** IP address, IPv6 without brackets. */
  host: string;
  port: number;
  /** 40 hex digits; known when the tracker answered with dictionaries. */
  peerId?: string;
}

/** What an announce brought. */
export interface AnnounceAnswer {
  /** In the tracker's order. */
  readonly peers: PeerAddress[];
  /** When to announce again, ms; within {@link INTERVAL_BOUNDS_MS}. */
  readonly intervalMs: number;
  /** Peers that hold the whole blob, and that do not, as the tracker counts them. */
  readonly complete: number;
  readonly incomplete: number;
}

/** Peers of one answer; the rest is not read. */
export const MAX_PEERS = 1000;
/** A tracker can neither silence its peers nor make them hammer it. */
export const INTERVAL_BOUNDS_MS = { least: 5_000, most: 3_600_000, absent: 60_000 } as const;

/**
 * Reads an answer. Peers with impossible addresses are left out.
 *
 * @throws TrackerError `refused` for a failure reason, `invalid` for anything that is no answer
 */
export function parseAnnounceAnswer(body: Uint8Array): AnnounceAnswer {
  let answer: BencodeValue;
  try {
    answer = decodeBencode(body);
  } catch (error) {
    throw new TrackerError("invalid", "the answer is no bencoding", { cause: error });
  }
  if (!(answer instanceof Map)) throw new TrackerError("invalid", "the answer is no dictionary");
  const failure = answer.get("failure reason");
  if (failure !== undefined) {
    const text = failure instanceof Uint8Array ? new TextDecoder().decode(failure.subarray(0, 200)) : "no reason given";
    throw new TrackerError("refused", text);
  }
  const peers: PeerAddress[] = [];
  readPeers(answer.get("peers"), 4, peers);
  readPeers(answer.get("peers6"), 6, peers);
  return {
    peers,
    intervalMs: interval(answer.get("interval")),
    complete: count(answer.get("complete")),
    incomplete: count(answer.get("incomplete")),
  };
}

/** One list out of many, in order, each address once, at most {@link MAX_PEERS}. A peer id once known is kept. */
export function mergePeers(lists: readonly (readonly PeerAddress[])[]): PeerAddress[] {
  const byAddress = new Map<string, PeerAddress>();
  // Row by row, so that the first places of each tracker's list stay first.
  const longest = Math.max(0, ...lists.map((list) => list.length));
  for (let row = 0; row < longest && byAddress.size < MAX_PEERS; row += 1) {
    for (const list of lists) {
      const peer = list[row];
      if (peer === undefined) continue;
      const key = hostPort(peer.host, peer.port);
      const known = byAddress.get(key);
      if (known === undefined) byAddress.set(key, { ...peer });
      else if (known.peerId === undefined && peer.peerId !== undefined) known.peerId = peer.peerId;
    }
  }
  return [...byAddress.values()].slice(0, MAX_PEERS);
}

function readPeers(list: BencodeValue | undefined, family: 4 | 6, peers: PeerAddress[]): void {
  if (list instanceof Uint8Array) {
    const size = PACKED_BYTES[family];
    if (list.length % size !== 0) throw new TrackerError("invalid", "packed peers are cut short");
    for (let at = 0; at < list.length && peers.length < MAX_PEERS; at += size) {
      const { ip, port } = unpackAddress(list.subarray(at, at + size));
      if (port > 0 && isUnicast(ip)) peers.push({ host: ip, port });
    }
  } else if (Array.isArray(list)) {
    for (const entry of list) {
      if (peers.length >= MAX_PEERS) return;
      const peer = readPeer(entry);
      if (peer !== undefined) peers.push(peer);
    }
  }
}

function readPeer(entry: BencodeValue): PeerAddress | undefined {
  if (!(entry instanceof Map)) return undefined;
  const ip = entry.get("ip");
  const port = entry.get("port");
  const id = entry.get("peer id");
  if (!(ip instanceof Uint8Array) || ip.length > 45 || typeof port !== "number" || port < 1 || port > 65535) {
    return undefined;
  }
  // Names are not resolved: an address from a list must not make this host ask a name server.
  const host = canonicalIp(new TextDecoder().decode(ip));
  if (host === undefined || !isUnicast(host)) return undefined;
  return id instanceof Uint8Array && id.length === KEY_BYTES
    ? { host, port, peerId: Buffer.from(id).toString("hex") }
    : { host, port };
}

function interval(value: BencodeValue | undefined): number {
  if (typeof value !== "number" || value <= 0) return INTERVAL_BOUNDS_MS.absent;
  return Math.min(Math.max(value * 1000, INTERVAL_BOUNDS_MS.least), INTERVAL_BOUNDS_MS.most);
}

function count(value: BencodeValue | undefined): number {
  return typeof value === "number" && value > 0 ? value : 0;
}
