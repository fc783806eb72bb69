/**
 * The configuration's section `cluster` at work.
 * @module
 */
import type { ClusterConfig } from "../config/index.ts";
import type { Logger } from "../log/log.ts";
import { canonicalIp } from "../tracker/address.ts";
import { ClusterAuth } from "./cluster-auth.ts";

/** The loaded section at work. @param init.advertise Of the same part. */
export function clusterAuth(
  { secret, previousSecret, ca, certFile, keyFile, addresses }: ClusterConfig,
  { advertise, log }: { advertise?: string | undefined; log: Logger },
): ClusterAuth {
  const own = certFile && keyFile ? { cert: certFile.content, key: keyFile.content } : undefined;
  const ip = advertise === undefined ? undefined : canonicalIp(advertise.replace(/^\[|\]$/g, ""));
  return new ClusterAuth({
    secret,
    previousSecret,
    tls: { ...(ca ? { ca: ca.content } : {}), ...(own ? { own } : {}) },
    addresses: ip === undefined ? addresses : [...addresses, ip],
    log,
  });
}
