/**
 * @module IP addresses as trackers write them: text in dictionaries (BEP 3), packed in `peers` (BEP 23) and `peers6`
 * (BEP 7).
 */
import { isIP } from "node:net";

/** Bytes of a packed IPv4 or IPv6 address with its port. */
export const PACKED_BYTES = { 4: 6, 6: 18 } as const;

const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/**
 * One spelling for one address: IPv4 inside IPv6 becomes IPv4, a zone index goes, IPv6 is lower case and shortened.
 *
 * @returns `undefined` when the text is no IP address
 */
export function canonicalIp(text: string): string | undefined {
  const bare = text.replace(/%.*$/, "");
  const ip = MAPPED.exec(bare)?.[1] ?? bare;
  const family = isIP(ip);
  if (family === 4) return ip;
  if (family !== 6) return undefined;
  const short = new URL(`http://[${ip}]`).hostname.slice(1, -1);
  // ::ffff:7f00:1, the other spelling of a mapped address, becomes dotted only after shortening.
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(short);
  if (mapped === null) return short;
  const high = Number.parseInt(mapped[1]!, 16);
  const low = Number.parseInt(mapped[2]!, 16);
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

/** 127.0.0.0/8 or ::1, canonical text given. */
export function isLoopback(ip: string): boolean {
  return ip.startsWith("127.") || ip === "::1";
}

/** Whether a canonical address can be a peer's: not "any", multicast, broadcast or reserved. */
export function isUnicast(ip: string): boolean {
  if (ip.includes(":")) return ip !== "::" && !ip.startsWith("ff");
  const first = Number(ip.slice(0, ip.indexOf(".")));
  return first > 0 && first < 224;
}

/** `host:port` as in URLs, IPv6 in brackets. */
export function hostPort(ip: string, port: number): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** Packs a canonical address and a port: 6 bytes (IPv4) or 18 (IPv6), network order. */
export function packAddress(ip: string, port: number): Uint8Array {
  const bytes = ip.includes(":") ? packIpv6(ip) : Uint8Array.from(ip.split("."), Number);
  const packed = new Uint8Array(bytes.length + 2);
  packed.set(bytes);
  packed[bytes.length] = port >> 8;
  packed[bytes.length + 1] = port & 255;
  return packed;
}

/** Undoes {@link packAddress}. The port may be 0: the reader judges. */
export function unpackAddress(packed: Uint8Array): { ip: string; port: number } {
  const end = packed.length - 2;
  const port = (packed[end]! << 8) | packed[end + 1]!;
  if (end === 4) return { ip: packed.subarray(0, 4).join("."), port };
  const groups: string[] = [];
  for (let i = 0; i < end; i += 2) groups.push(((packed[i]! << 8) | packed[i + 1]!).toString(16));
  return { ip: canonicalIp(groups.join(":")) ?? "::", port };
}

function packIpv6(ip: string): Uint8Array {
  const [head = "", tail] = ip.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const bytes = new Uint8Array(16);
  const put = (group: string, index: number) => {
    const value = Number.parseInt(group, 16);
    bytes[index * 2] = value >> 8;
    bytes[index * 2 + 1] = value & 255;
  };
  for (const [i, group] of left.entries()) put(group, i);
  for (const [i, group] of right.entries()) put(group, 8 - right.length + i);
  return bytes;
}
