/**
 * Authorities: one spelling for each, and which of them are this part's own.
 * @module
 */
import { isIP } from "node:net";
import { canonicalIp } from "../tracker/address.ts";

/** This end of a connection. */
export interface LocalEnd {
  readonly localAddress: string;
  readonly localPort: number;
}

/**
 * `host:port`, the port always there, the host in lower case, IPv6 shortened and in brackets.
 * @param text `host`, `host:port` or `[v6]:port`, as in URLs and in `Host`.
 * @returns undefined for anything else.
 */
export function canonicalAuthority(text: string, { secure }: { secure: boolean }): string | undefined {
  // Whatever would end the authority inside a URL.
  if (!/^[^\s/?#@\\]+$/.test(text)) return undefined;
  const url = URL.parse(`${secure ? "https" : "http"}://${text}`);
  if (!url || url.hostname === "") return undefined;
  return `${url.hostname}:${url.port || (secure ? 443 : 80)}`;
}

/**
 * Whether a request that was sent to `authority` was meant for the part that got it. Peers are dialled by address, and
 * an address that a tracker gave may be anybody's; so an address must be that of the socket itself, or one of `known`.
 * Names are only ever dialled because the configuration of the dialling part has them, so any name will do.
 * @param authority As `canonicalAuthority` writes it.
 * @param known More addresses of this part, for where addresses are translated: `host` (at the socket's own port) or
 * `host:port`, canonical.
 */
export function isOwnAuthority(
  authority: string,
  { localAddress, localPort }: LocalEnd,
  known: ReadonlySet<string>,
): boolean {
  const at = authority.lastIndexOf(":");
  const host = authority.slice(0, at).replace(/^\[|\]$/g, "");
  if (isIP(host) === 0) return true;
  if (known.has(authority)) return true;
  if (Number(authority.slice(at + 1)) !== localPort) return false;
  const ip = canonicalIp(host);
  return ip !== undefined && (ip === canonicalIp(localAddress) || known.has(ip));
}
