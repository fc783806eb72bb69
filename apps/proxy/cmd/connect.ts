/**
 * What the proxy does with CONNECT: who may, where to, and which registries' HTTPS it answers itself.
 * @module
 */
import type { ProxyConfig } from "../../../lib/config/index.ts";
import type { InterceptRule, TunnelHandler } from "../../../lib/http/server.ts";
import { createTunnelHandler } from "../../../lib/http/tunnel.ts";
import type { Logger } from "../../../lib/log/log.ts";
import type { Upstreams } from "../../../lib/registry/upstreams.ts";
import { Issuer } from "../../../lib/tls/certificate.ts";
import { LeafContexts } from "../../../lib/tls/leaf-contexts.ts";

/**
 * The listener's handlers for CONNECT. Tunnels lead to the hosts of allowed registries alone, and for allowed clients:
 * no open proxy.
 */
export function connectHandlers(
  proxyCfg: ProxyConfig["proxyCfg"],
  { upstreams, connectTimeoutMs, log }: { upstreams: Upstreams; connectTimeoutMs: number; log: Logger },
): { tunnel: TunnelHandler; intercept?: InterceptRule } {
  const { allowClients, connectPorts, intercept: names, interceptCertFile, interceptKeyFile } = proxyCfg;
  const tunnel = createTunnelHandler({
    allow: (host, port, { remoteAddress }) =>
      allowClients.allows(remoteAddress) && connectPorts.includes(port) && isAllowed({ host, port }, upstreams),
    connectTimeoutMs,
    log,
  });
  if (names.length === 0 || !interceptCertFile || !interceptKeyFile) return { tunnel };
  const contexts = new LeafContexts(new Issuer({ cert: interceptCertFile.content, key: interceptKeyFile.content }));
  const intercept: InterceptRule = ({ host, port }, { remoteAddress }) => {
    const url = URL.parse(`https://${host.includes(":") ? `[${host}]` : host}:${port}`);
    const upstream = url && upstreams.byUrl(url);
    if (!upstream || !names.includes(upstream.name) || !allowClients.allows(remoteAddress)) return undefined;
    return contexts.get(host);
  };
  return { tunnel, intercept };
}

function isAllowed({ host, port }: { host: string; port: number }, upstreams: Upstreams): boolean {
  const isListed = upstreams
    .list()
    .some((upstream) => upstream.base.hostname.replace(/^\[|\]$/g, "") === host || hostOf(upstream.name) === host);
  return isListed || upstreams.byName(`${host}:${port}`) !== undefined;
}

function hostOf(authority: string): string {
  return new URL(`http://${authority}`).hostname.replace(/^\[|\]$/g, "");
}
