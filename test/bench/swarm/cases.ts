/**
 * @module What `npm run bench:swarm` can measure.
 */

const mib = 1024 * 1024;

/** Who pulls. */
export const clientNames = ["eagle", "direct", "aria2", "libtorrent"] as const;
export type ClientName = (typeof clientNames)[number];

/** How a peer that is no honest one behaves: sends wrong bytes, or right ones at 10 kB/s. */
export type Misdeed = "lie" | "trickle";

/** A swarm of hosts that pull the same blobs. */
export interface SwarmCase {
  kind: "swarm";
  name: string;
  /** What is asked of Eagle, for a person. */
  about: string;
  /** Most that Eagle's slowest host may take, in bounds. */
  target: number;
  clients: readonly ClientName[];
  hosts: number;
  /** Mbit/s, of hosts, seeder and origin. */
  rate: number;
  /** Bytes of each blob. */
  size: number;
  blobs: number;
  /** Whether the seeder has to fetch the blobs itself. */
  cold: boolean;
  delayMs?: number;
  loss?: number;
  /** Hosts begin one after the other. */
  joinEveryMs?: number;
  /** Mbit/s of the last host. */
  slowRate?: number;
  /** Hosts that die when they have half: by kill -9, or without a word (the cable pulled first). */
  deaths?: { count: number; how: "kill" | "unplug" };
  /** One more host, as fast as the others, with a test peer. */
  misdeed?: Misdeed;
}

/** One host against `curl` at the origin, cold. */
export interface SingleCase {
  kind: "single";
  name: string;
  about: string;
  rate: number;
  size: number;
}

/** The rate limits of one host. */
export interface LimitCase {
  kind: "limit";
  name: string;
  about: string;
  direction: "down" | "up";
  /** Bytes a second. */
  limit: number;
}

export type Case = SwarmCase | SingleCase | LimitCase;

const base = { kind: "swarm", hosts: 8, rate: 200, size: 256 * mib, blobs: 1, cold: false } as const;
const all = clientNames;
const eagle = ["eagle"] as const;

export const cases: readonly Case[] = [
  { ...base, name: "warm", about: "8 hosts x 200 Mbit/s, 256 MiB, the seeder has it", target: 1.1, clients: all },
  {
    ...base,
    name: "cold",
    about: "the same, the seeder fetches it from an origin at 200 Mbit/s",
    target: 1.15,
    clients: eagle,
    cold: true,
  },
  {
    ...base,
    name: "warm-16",
    about: "16 hosts x 100 Mbit/s, warm",
    target: 1.2,
    clients: ["eagle", "aria2", "libtorrent"],
    hosts: 16,
    rate: 100,
  },
  {
    ...base,
    name: "cold-16",
    about: "16 hosts x 100 Mbit/s, cold",
    target: 1.25,
    clients: eagle,
    hosts: 16,
    rate: 100,
    cold: true,
  },
  {
    ...base,
    name: "delay",
    about: "8 hosts, 20 ms round trip",
    target: 1.2,
    clients: ["eagle", "aria2", "libtorrent"],
    delayMs: 10,
  },
  {
    ...base,
    name: "loss",
    about: "8 hosts, 20 ms round trip, 1 % of packets lost",
    target: 1.3,
    clients: ["eagle", "aria2", "libtorrent"],
    delayMs: 10,
    loss: 0.01,
  },
  {
    ...base,
    name: "four-blobs",
    about: "8 hosts, four blobs of 64 MiB at once",
    target: 1.15,
    clients: ["eagle", "aria2", "libtorrent"],
    size: 64 * mib,
    blobs: 4,
  },
  { ...base, name: "joining", about: "8 hosts, one more every 0.5 s", target: 1.15, clients: eagle, joinEveryMs: 500 },
  { ...base, name: "slow-host", about: "8 hosts, one at 50 Mbit/s", target: 1.15, clients: eagle, slowRate: 50 },
  {
    ...base,
    name: "deaths",
    about: "8 hosts, two killed half-way",
    target: 1.2,
    clients: eagle,
    deaths: { count: 2, how: "kill" },
  },
  {
    ...base,
    name: "vanish",
    about: "8 hosts, two unplugged half-way",
    target: 1.2,
    clients: eagle,
    deaths: { count: 2, how: "unplug" },
  },
  {
    ...base,
    name: "liar",
    about: "8 hosts and a peer that sends wrong bytes",
    target: 1.2,
    clients: eagle,
    misdeed: "lie",
  },
  {
    ...base,
    name: "trickle",
    about: "8 hosts and a peer that sends 10 kB/s",
    target: 1.2,
    clients: eagle,
    misdeed: "trickle",
  },
  {
    kind: "single",
    name: "single",
    about: "one cold host at 1 Gbit/s, 1 GiB, against curl at the origin: <= 1.03x + 150 ms, first byte <= + 50 ms",
    rate: 1000,
    size: 1024 * mib,
  },
  {
    kind: "limit",
    name: "limit-down",
    about: "downloadRateLimit of 20 MB/s, 4 blobs from 8 peers: 19 to 20.5 MB/s over 10 s",
    direction: "down",
    limit: 20e6,
  },
  {
    kind: "limit",
    name: "limit-up",
    about: "uploadRateLimit of 20 MB/s at the seeder, 4 blobs to 2 hosts",
    direction: "up",
    limit: 20e6,
  },
];
