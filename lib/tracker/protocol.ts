/**
 * @module What the tracker's routes do, without HTTP: announce, scrape, heartbeat.
 *
 * Announces and scrapes are read and checked by `bittorrent-tracker`'s server, with its sockets off and its swarms
 * replaced by the {@link SwarmStore}; the answers are written by `answers.ts`.
 */
import Server, { type TrackerCallback, type TrackerParams, type TrackerSwarm } from "bittorrent-tracker/server";
import { latin1 } from "../bencode/bencode.ts";
import { canonicalIp, isLoopback, isUnicast } from "./address.ts";
import { announceAnswer, failureAnswer, scrapeAnswer } from "./answers.ts";
import { TrackerError } from "./errors.ts";
import { type HoldingsAnswer, type HoldingsMessage, LEASE_BOUNDS, MAX_ZONE_LENGTH } from "./holdings-message.ts";
import { swarmKey } from "./keys.ts";
import type { StoredPeer, SwarmStore } from "./store.ts";

/** Peers in an answer. */
export const NUMWANT = { absent: 50, most: 200 } as const;
/** Of a request target; a scrape of 200 swarms fits. */
export const MAX_TARGET_LENGTH = 16 * 1024;

const MAX_SCRAPE_KEYS = 200;
/** Of Eagle's own peers while they download, s. */
const FETCHING_INTERVAL = 10;
/** Other clients keep their own minimum (libtorrent: 5 minutes), whatever interval they are told; s. */
const FOREIGN_TTL = 600;
const EVENTS = new Set<unknown>(["update", "started", "completed", "stopped", "paused"]);
const KEY = /^[0-9a-f]{40}$/;
/** Before the keys of the cluster's own swarms: no info hash looks like that. */
const CLOSED = "closed:";
/** The headers of a part's request, as far as the package gets to see them. */
const PART: Readonly<Record<string, string>> = {};
const STRANGER = "this tracker takes Eagle's announces from its own cluster alone (cluster.secret)";

/** What a {@link TrackerProtocol} needs. */
export interface TrackerProtocolInit {
  /** Not closed by the protocol. */
  readonly store: SwarmStore;
  /** Told to peers that do not download, seconds. */
  readonly interval: number;
  /**
   * Parts of the cluster can be told from strangers. Then Eagle's hosts must be parts, they are believed where they say
   * they are reached, and their own swarms (K1) are kept apart from those that anybody may enter (K2). @default false
   */
  readonly isClosed?: boolean;
}

/** Who asks. */
export interface Asker {
  /** Of the socket; the only address of a stranger that is believed. */
  readonly remoteAddress: string;
  /** A part of this cluster. */
  readonly isPart?: boolean;
}

/** An answer's body, and how it went. */
export interface ProtocolAnswer {
  readonly body: Uint8Array;
  readonly result: "ok" | "refused";
}

/** Answers requests of peers. */
export class TrackerProtocol {
  readonly #store: SwarmStore;
  readonly #interval: number;
  readonly #server: Server;
  readonly #isClosed: boolean;

  constructor({ store, interval, isClosed = false }: TrackerProtocolInit) {
    this.#isClosed = isClosed;
    this.#store = store;
    this.#interval = interval;
    this.#server = new StoreServer({
      announce: (params, callback) => void this.#announce(params).then((body) => params.httpRes.end(body), callback),
      scrape: (params, callback) => void this.#scrape(params).then((body) => params.httpRes.end(body), callback),
    });
  }

  /**
   * Answers an announce (BEP 3, 7, 23) or a scrape (BEP 48).
   *
   * @param target - request target as sent: info hashes are binary, decoding and encoding again would break them
   * @returns a bencoded answer, a failure reason included; never rejects because of what was asked
   */
  answer(
    action: "announce" | "scrape",
    target: string,
    { remoteAddress, isPart = false }: Asker,
  ): Promise<ProtocolAnswer> {
    const ip = canonicalIp(remoteAddress);
    if (ip === undefined) return Promise.resolve(refusal("the address of the peer is unknown"));
    if (target.length > MAX_TARGET_LENGTH) return Promise.resolve(refusal("request too long"));
    return new Promise((resolve) => {
      const end = (body: Uint8Array = failureAnswer("stopping")) => {
        const failed = latin1(body.subarray(0, 18)) === "d14:failure reason";
        resolve({ body, result: failed ? "refused" : "ok" });
      };
      this.#server.onHttpRequest(
        { url: oneQuery(target), headers: isPart ? PART : {}, connection: { remoteAddress: ip } },
        { end },
        {
          action,
        },
      );
    });
  }

  /**
   * Takes a heartbeat.
   *
   * @throws TrackerError `full`; `refused` for a stranger in a closed cluster; `invalid` when the address of the peer is
   * unknown
   */
  async holdings(message: HoldingsMessage, { remoteAddress, isPart = false }: Asker): Promise<HoldingsAnswer> {
    if (this.#isClosed && !isPart) throw new TrackerError("refused", STRANGER);
    const ip = canonicalIp(remoteAddress);
    if (ip === undefined) throw new TrackerError("invalid", "the address of the peer is unknown");
    const lease = Math.min(Math.max(message.lease, LEASE_BOUNDS.least), LEASE_BOUNDS.most);
    const { resync } = await this.#store.holdings({
      peer: {
        peerId: message.peer,
        ip: (isPart ? advertised(message.host) : loopbackHost(ip, message.host)) ?? ip,
        port: message.port,
        zone: message.zone ?? "",
      },
      epoch: message.epoch,
      seq: message.seq,
      leaseMs: lease * 1000,
      add: message.add.map((digest) => this.#keyOf(digest)),
      remove: message.remove.map((digest) => this.#keyOf(digest)),
      full: message.full ?? false,
      stopped: message.stopped ?? false,
    });
    return { lease, resync };
  }

  async #announce(params: TrackerParams): Promise<Uint8Array> {
    const { info_hash: infoHash, event, left = Number.POSITIVE_INFINITY } = params;
    if (!EVENTS.has(event)) throw new TrackerError("invalid", "invalid event");
    const peer = readPeer(params);
    // The package counts characters; whether they were bytes shows here.
    if (typeof infoHash !== "string" || !KEY.test(infoHash)) throw new TrackerError("invalid", "invalid info_hash");
    const complete = left === 0 || event === "completed";
    const eagle = params.eagle === "1";
    // The package passes the headers on as they were given above, whatever the query says.
    const isPart = params.headers === PART;
    if (this.#isClosed && eagle && !isPart) throw new TrackerError("refused", STRANGER);
    const ip = isPart && typeof params.host === "string" ? advertised(params.host) : undefined;
    const intervalSeconds = eagle && !complete ? Math.min(FETCHING_INTERVAL, this.#interval) : this.#interval;
    const view = await this.#store.announce({
      key: this.#isClosed && params.closed === "1" && isPart ? CLOSED + infoHash : infoHash,
      peer: ip === undefined ? peer : { ...peer, ip },
      stopped: event === "stopped",
      complete,
      // Three announces may be lost.
      ttlMs: 1000 * (eagle ? intervalSeconds * 3 + 5 : Math.max(this.#interval * 3, FOREIGN_TTL)),
      numwant: numwant(params.wanted),
    });
    return announceAnswer(view, { intervalSeconds, compact: params.compact === 1 });
  }

  #keyOf(digest: string): string {
    const key = Buffer.from(swarmKey(digest)).toString("hex");
    return this.#isClosed ? CLOSED + key : key;
  }

  async #scrape({ info_hash: hashes }: TrackerParams): Promise<Uint8Array> {
    // A list of everything this tracker knows is nobody's business.
    if (!Array.isArray(hashes) || hashes.length === 0) throw new TrackerError("invalid", "info_hash is missing");
    if (hashes.length > MAX_SCRAPE_KEYS) throw new TrackerError("invalid", `more than ${MAX_SCRAPE_KEYS} info_hash`);
    if (!hashes.every((hash) => KEY.test(hash))) throw new TrackerError("invalid", "invalid info_hash");
    const keys = [...new Set(hashes)];
    return scrapeAnswer(keys, await this.#store.scrape(keys), this.#interval);
  }
}

/** `bittorrent-tracker`'s server with every swarm in the store. Its own `createSwarm` loses peers that come at once. */
class StoreServer extends Server {
  readonly #swarm: TrackerSwarm;
  readonly #scrape: (params: TrackerParams, callback: TrackerCallback) => void;

  constructor({
    announce,
    scrape,
  }: TrackerSwarm & { scrape: (params: TrackerParams, callback: TrackerCallback) => void }) {
    super({ http: false, udp: false, ws: false, stats: false });
    this.#swarm = { announce };
    this.#scrape = scrape;
  }

  override getSwarm(_infoHash: string, callback: (error: Error | null, swarm?: TrackerSwarm) => void): void {
    callback(null, this.#swarm);
  }

  override _onScrape(params: TrackerParams, callback: TrackerCallback): void {
    this.#scrape(params, callback);
  }
}

function readPeer({ peer_id: peerId, port, zone, ip }: TrackerParams): StoredPeer {
  if (typeof peerId !== "string" || !KEY.test(peerId)) throw new TrackerError("invalid", "invalid peer_id");
  if (port === undefined || !Number.isInteger(port)) throw new TrackerError("invalid", "invalid port");
  // `ip` is the socket's here: the package has written it over whatever the query said.
  return { peerId, ip: String(ip), port, zone: typeof zone === "string" ? readZone(zone) : "" };
}

/** Undoes the package's "one character a byte", so that a zone is the same word here as in heartbeats. */
function readZone(bytes: string): string {
  const zone = Buffer.from(bytes.slice(0, MAX_ZONE_LENGTH * 4), "latin1").toString("utf8");
  return zone.length <= MAX_ZONE_LENGTH ? zone : "";
}

/** The package cuts `numwant` at 82 and takes 0 for "no number given"; so it is read from the query under this name. */
function numwant(text: unknown): number {
  const wanted = typeof text === "string" && text !== "" ? Math.floor(Number(text)) : Number.NaN;
  // Some clients say -1 for "as you like".
  return wanted >= 0 ? Math.min(wanted, NUMWANT.most) : NUMWANT.absent;
}

/** The query alone, with one question mark (the package would cut it at the second). */
function oneQuery(target: string): string {
  const start = target.indexOf("?");
  if (start < 0) return "?";
  const query = target.slice(start + 1);
  const wanted = /(?:^|&)numwant=([^&]*)/.exec(query)?.[1] ?? "";
  // First, because the package reads a bounded number of parameters.
  return `?wanted=${wanted}&${query.replaceAll("?", "%3F")}`;
}

/** On one machine several loopback addresses may play several hosts. */
function loopbackHost(remote: string, host: string | undefined): string | undefined {
  if (host === undefined || !isLoopback(remote)) return undefined;
  const ip = canonicalIp(host.replace(/^\[|\]$/g, ""));
  return ip !== undefined && isLoopback(ip) ? ip : undefined;
}

/** Where a part says it is reached. Names are not resolved. */
function advertised(host: string | undefined): string | undefined {
  const ip = canonicalIp((host ?? "").replace(/^\[|\]$/g, ""));
  return ip !== undefined && isUnicast(ip) ? ip : undefined;
}

function refusal(reason: string): ProtocolAnswer {
  return { body: failureAnswer(reason), result: "refused" };
}
