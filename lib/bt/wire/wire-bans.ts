/**
 * Wire peers whose pieces failed their hash. They come back under another port, or another peer id: both are known.
 * @module
 */
import { BanList } from "../ban-list.ts";

/** Who a peer is. */
export interface WirePeer {
  /** IP address. */
  readonly host: string;
  readonly port: number;
  /** 40 hex digits; unknown before the handshake unless a tracker told. */
  readonly peerId?: string | undefined;
}

/** See the module. An address is banned as a whole, except on loopback, where all hosts of a test rig are. */
export class WireBans {
  readonly #list: BanList;

  constructor(list: BanList = new BanList()) {
    this.#list = list;
  }

  add(peer: WirePeer): void {
    for (const name of names(peer)) this.#list.add(name);
  }

  has(peer: WirePeer): boolean {
    return names(peer).some((name) => this.#list.has(name));
  }

  hasHost(host: string): boolean {
    return this.#list.has(plain(host));
  }
}

function names({ host, port, peerId }: WirePeer): string[] {
  const ip = plain(host);
  const loopback = ip === "::1" || ip.startsWith("127.");
  return [loopback ? `${ip} ${port}` : ip, ...(peerId ? [peerId] : [])];
}

/** An IPv4 address as a socket for both families tells it is the same address. */
function plain(host: string): string {
  return host.replace(/^\[|\]$/g, "").replace(/^::ffff:(?=\d+\.)/i, "");
}
