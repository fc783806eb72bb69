/**
 * @module The swarm store of one tracker process.
 *
 * Nothing is written anywhere: after a restart peers announce again within an interval, and heartbeats are asked to
 * resync. Nothing is thrown out to make room, so that swarms of any size lose nobody; beyond the bounds newcomers are
 * refused.
 */
import { hostPort, isLoopback } from "./address.ts";
import { TrackerError } from "./errors.ts";
import type {
  StoreAnnounce,
  StoredPeer,
  StoreHoldings,
  StoreSizes,
  SwarmCounts,
  SwarmStore,
  SwarmView,
} from "./store.ts";
import { type Announcer, type Host, Swarm } from "./swarm.ts";

/** How a {@link MemorySwarmStore} is made. */
export interface MemorySwarmStoreInit {
  /** Monotonic clock, ms. @default performance.now */
  readonly now?: () => number;
  /** 0..1 @default Math.random */
  readonly random?: () => number;
  /** Swarms, members by announce, hosts, and pairs of host and blob. About 150 bytes each. */
  readonly maxSwarms?: number;
  readonly maxAnnounced?: number;
  readonly maxHosts?: number;
  readonly maxHoldings?: number;
}

/** Swarms and holdings in memory. All work is done within a call; there are no timers. */
export class MemorySwarmStore implements SwarmStore {
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #max: StoreSizes;
  readonly #swarms = new Map<string, Swarm>();
  /** For each time to live, those who have it, longest unheard first. */
  readonly #lines = new Map<number, Set<Announcer>>();
  #announced = 0;
  /** No announce expires before. */
  #nextExpiry = Number.POSITIVE_INFINITY;
  /** By peer id and address: nobody takes another host's holdings away by naming its peer id. */
  readonly #hosts = new Map<string, Host>();
  /** By address and port: a process that starts anew at an address replaces the one before it. */
  readonly #hostAt = new Map<string, Host>();
  #holdings = 0;
  /** No lease ends before. */
  #nextLeaseEnd = Number.POSITIVE_INFINITY;

  constructor({
    now = () => performance.now(),
    random = Math.random,
    maxSwarms = 1_000_000,
    maxAnnounced = 1_000_000,
    maxHosts = 50_000,
    maxHoldings = 10_000_000,
  }: MemorySwarmStoreInit = {}) {
    this.#now = now;
    this.#random = random;
    this.#max = { swarms: maxSwarms, announced: maxAnnounced, hosts: maxHosts, holdings: maxHoldings };
  }

  async announce({ key, peer, stopped, complete, ttlMs, numwant }: StoreAnnounce): Promise<SwarmView> {
    const now = this.#expire();
    const address = hostPort(peer.ip, peer.port);
    const known = this.#swarms.get(key)?.announcer(address);
    if (stopped) {
      if (known !== undefined) this.#leave(known);
      return { ...this.#counts(key), peers: [] };
    }
    if (known === undefined) this.#room("announced", this.#announced);
    else this.#unline(known);
    const swarm = this.#swarm(key);
    const holder = this.#hostAt.get(address)?.holdings.has(swarm) ?? false;
    const announcer = swarm.announce({ peer, complete, ttlMs, expires: now + ttlMs, holder });
    if (known === undefined) this.#announced += 1;
    this.#line(announcer);
    const askerIsLocal = isLoopback(peer.ip);
    const peers = swarm.choose({
      zone: peer.zone,
      numwant,
      random: this.#random,
      accept: (other) =>
        other.peerId !== peer.peerId &&
        !(other.port === peer.port && other.ip === peer.ip) &&
        // 127.0.0.1 of the tracker's host would be the asker itself on any other host.
        (askerIsLocal || !isLoopback(other.ip)),
    });
    return { ...swarm.counts, peers };
  }

  async scrape(keys: readonly string[]): Promise<SwarmCounts[]> {
    this.#expire();
    return keys.map((key) => this.#counts(key));
  }

  async holdings(update: StoreHoldings): Promise<{ resync: boolean }> {
    const now = this.#expire();
    const id = hostId(update.peer);
    let host = this.#hosts.get(id);
    const sameEpoch = host?.epoch === update.epoch;
    if (update.stopped) {
      if (host !== undefined && sameEpoch) this.#dropHost(host);
      return { resync: false };
    }
    // Overtaken by a later message of the same process.
    if (host !== undefined && sameEpoch && update.seq <= host.seq) return { resync: false };
    const begins = update.full || (!sameEpoch && update.seq <= 1);
    const moved = host?.port !== update.peer.port || host.zone !== update.peer.zone;
    if (host !== undefined && (begins || !sameEpoch || moved)) {
      this.#dropHost(host);
      host = undefined;
    }
    // Without its beginning a list means nothing; kept, a message that comes late would bring a stopped host back.
    if (host === undefined && !begins) return { resync: true };
    const gap = host !== undefined && update.seq !== host.seq + 1;
    host ??= this.#addHost(id, update);
    host.seq = update.seq;
    host.leaseEnds = now + update.leaseMs;
    this.#nextLeaseEnd = Math.min(this.#nextLeaseEnd, host.leaseEnds);
    for (const key of update.remove) this.#drop(host, this.#swarms.get(key));
    for (const key of update.add) this.#hold(host, key);
    return { resync: gap };
  }

  async sizes(): Promise<StoreSizes> {
    this.#expire();
    return { swarms: this.#swarms.size, announced: this.#announced, hosts: this.#hosts.size, holdings: this.#holdings };
  }

  async close(): Promise<void> {
    this.#swarms.clear();
    this.#lines.clear();
    this.#hosts.clear();
    this.#hostAt.clear();
    this.#announced = 0;
    this.#holdings = 0;
  }

  #counts(key: string): SwarmCounts {
    return this.#swarms.get(key)?.counts ?? { complete: 0, incomplete: 0 };
  }

  #room(what: keyof StoreSizes, used: number): void {
    if (used >= this.#max[what]) throw new TrackerError("full", `this tracker has no room for more (${what})`);
  }

  #swarm(key: string): Swarm {
    let swarm = this.#swarms.get(key);
    if (swarm === undefined) {
      this.#room("swarms", this.#swarms.size);
      swarm = new Swarm(key);
      this.#swarms.set(key, swarm);
    }
    return swarm;
  }

  #tidy(swarm: Swarm): void {
    if (swarm.empty) this.#swarms.delete(swarm.key);
  }

  #line(announcer: Announcer): void {
    const line = this.#lines.get(announcer.ttlMs);
    if (line === undefined) this.#lines.set(announcer.ttlMs, new Set([announcer]));
    else line.add(announcer);
    this.#nextExpiry = Math.min(this.#nextExpiry, announcer.expires);
  }

  #unline(announcer: Announcer): void {
    const line = this.#lines.get(announcer.ttlMs);
    line?.delete(announcer);
    if (line?.size === 0) this.#lines.delete(announcer.ttlMs);
  }

  #leave(announcer: Announcer): void {
    this.#unline(announcer);
    announcer.swarm.leave(announcer);
    this.#announced -= 1;
    this.#tidy(announcer.swarm);
  }

  #addHost(id: string, { peer, epoch, seq }: StoreHoldings): Host {
    const address = hostPort(peer.ip, peer.port);
    const before = this.#hostAt.get(address);
    if (before !== undefined) this.#dropHost(before);
    this.#room("hosts", this.#hosts.size);
    const host: Host = { ...peer, address, epoch, seq, leaseEnds: 0, holdings: new Map() };
    this.#hosts.set(id, host);
    this.#hostAt.set(address, host);
    return host;
  }

  #dropHost(host: Host): void {
    for (const swarm of [...host.holdings.keys()]) this.#drop(host, swarm);
    this.#hosts.delete(hostId(host));
    this.#hostAt.delete(host.address);
  }

  #hold(host: Host, key: string): void {
    const known = this.#swarms.get(key);
    if (known !== undefined && host.holdings.has(known)) return;
    this.#room("holdings", this.#holdings);
    this.#swarm(key).hold(host);
    this.#holdings += 1;
  }

  #drop(host: Host, swarm: Swarm | undefined): void {
    if (swarm === undefined || !host.holdings.has(swarm)) return;
    swarm.drop(host);
    this.#holdings -= 1;
    this.#tidy(swarm);
  }

  /** Forgets whoever was not heard in time. Looks only when somebody may be due. @returns now */
  #expire(): number {
    const now = this.#now();
    if (now >= this.#nextExpiry) {
      this.#nextExpiry = Number.POSITIVE_INFINITY;
      for (const line of [...this.#lines.values()]) {
        for (const announcer of line) {
          if (announcer.expires > now) {
            this.#nextExpiry = Math.min(this.#nextExpiry, announcer.expires);
            break;
          }
          this.#leave(announcer);
        }
      }
    }
    if (now >= this.#nextLeaseEnd) {
      this.#nextLeaseEnd = Number.POSITIVE_INFINITY;
      for (const host of [...this.#hosts.values()]) {
        if (host.leaseEnds <= now) this.#dropHost(host);
        else this.#nextLeaseEnd = Math.min(this.#nextLeaseEnd, host.leaseEnds);
      }
    }
    return now;
  }
}

function hostId({ peerId, ip }: StoredPeer): string {
  return `${peerId}@${ip}`;
}
