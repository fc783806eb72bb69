/**
 * Which remote addresses may use the registry port.
 *
 * @module
 */
import { BlockList, isIP } from "node:net";
import { invalid, shown } from "./errors.ts";

/** The clients a port answers. */
export interface AllowClients {
  /** The rules as written. */
  readonly rules: readonly string[];
  /** Whether an address (IPv4, IPv6, IPv4 mapped into IPv6, with or without `%zone`) is let in. */
  allows(address: string): boolean;
}

/**
 * Reads rules: `loopback` (127.0.0.0/8 and ::1), `any`, an address, or a network such as `10.0.0.0/8`.
 *
 * @throws ConfigError `invalid` when a rule is none of these.
 */
export function parseAllowClients(rules: readonly unknown[]): AllowClients {
  const list = new BlockList();
  let any = false;
  for (const rule of rules) {
    if (rule === "any") any = true;
    else if (rule === "loopback") {
      list.addSubnet("127.0.0.0", 8, "ipv4");
      list.addAddress("::1", "ipv6");
    } else addNetwork(list, rule);
  }
  return {
    rules: rules.map(String),
    allows: (address) => any || (list.check(bare(address), family(bare(address))) && isIP(bare(address)) !== 0),
  };
}

function addNetwork(list: BlockList, rule: unknown): void {
  const match = typeof rule === "string" ? /^([0-9A-Fa-f.:]+)(?:\/([0-9]{1,3}))?$/.exec(rule) : null;
  const version = match ? isIP(match[1]!) : 0;
  if (!match || version === 0) throw invalid(`${shown(rule)} is not an address, a network, loopback or any`);
  const most = version === 4 ? 32 : 128;
  const prefix = match[2] === undefined ? most : Number(match[2]);
  if (prefix > most) throw invalid(`${shown(rule)} has a prefix longer than ${most} bits`);
  list.addSubnet(match[1]!, prefix, version === 4 ? "ipv4" : "ipv6");
}

function bare(address: string): string {
  const plain = address.replace(/%.*$/, "");
  return /^::ffff:([0-9.]+)$/i.exec(plain)?.[1] ?? plain;
}

function family(address: string): "ipv4" | "ipv6" {
  return isIP(address) === 4 ? "ipv4" : "ipv6";
}
