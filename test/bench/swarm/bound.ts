/**
 * @module The least time in which a swarm can have its blobs, whatever the protocol.
 */

/** Share of a line's rate that is TCP payload: 1448 of 1514 bytes of an Ethernet frame (IPv4, TCP timestamps). */
export const payloadShare = 1448 / 1514;

/** A swarm as the physics sees it. Rates in Mbit/s of the line. */
export interface Lines {
  /** Bytes that each host wants. */
  bytes: number;
  /** Rate of whoever has the bytes at first. */
  source: number;
  /** Rates of the hosts that want them. */
  hosts: readonly number[];
  /** Of a host; when it is left out, the slowest of all. */
  of?: number;
}

/**
 * Seconds: no host can have the bytes before the source has sent them once, before its own line has carried them, and
 * before all lines together have carried the bytes of all hosts (lower bound of Kumar and Ross, "Peer-assisted file
 * distribution", 2006).
 * @param lines.of - the rate of the host whose time is bounded; for it the sum counts only when all hosts are alike.
 */
export function lowerBound({ bytes, source, hosts, of }: Lines): number {
  const own = of ?? Math.min(...hosts);
  const alike = hosts.every((rate) => rate === hosts[0]);
  const together = (hosts.length * bytes) / (source + hosts.reduce((sum, rate) => sum + rate, 0));
  const worst = Math.max(bytes / source, bytes / own, alike ? together : 0);
  return (worst * 8) / (1e6 * payloadShare);
}
