/**
 * The seeder's storage, as the configuration says, and its part among the seeders that share it.
 * @module
 */
import { networkInterfaces } from "node:os";
import { BanList } from "../../../lib/bt/ban-list.ts";
import { troubleAtStart } from "../../../lib/bt/disk-health.ts";
import type { Host } from "../../../lib/bt/host.ts";
import { openClaims } from "../../../lib/bt/sharing/open-claims.ts";
import { SharedFills } from "../../../lib/bt/sharing/shared-fills.ts";
import { minFreeBytes, type SeederConfig } from "../../../lib/config/index.ts";
import type { Logger } from "../../../lib/log/log.ts";
import type { Metrics } from "../../../lib/metrics/metrics.ts";
import { type Storage, storageBackends } from "../../../lib/storage/index.ts";
import type { TrackerClient } from "../../../lib/tracker/client.ts";

/** @throws StorageError when the root directory or the bucket cannot be used. */
export async function openStorage({ seederCfg }: SeederConfig, log: Logger): Promise<Storage> {
  const { rootDirectory, limitSize, minFree, storageBackend, s3 } = seederCfg;
  const onTrouble = troubleAtStart(log);
  if (storageBackend === "fs") return await storageBackends.fs({ rootDirectory, onTrouble });
  const tier = { rootDirectory, onTrouble, limitSize, minFree: (total: number) => minFreeBytes(minFree, total), log };
  if (storageBackend === "memory") return await storageBackends.memory(tier);
  const { bucket = "", presign, evict: _, ...place } = s3;
  return await storageBackends.s3({ ...tier, links: presign, s3: { ...place, bucket } });
}

/** What sharing needs of the running seeder. */
export interface SharingInit {
  readonly config: SeederConfig;
  readonly storage: Storage;
  readonly host: Host;
  readonly tracker: TrackerClient | undefined;
  /** The port that the seeder listens at. */
  readonly port: number;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Joins the seeders over the same storage, if others may be there. The caller closes what it gets. */
export async function joinSeeders(init: SharingInit): Promise<SharedFills | undefined> {
  const { config, storage, host, tracker, port, log, metrics } = init;
  const { seederCfg } = config;
  const objects = storage.remote?.objects;
  if (!objects?.shared) return undefined;
  const self = ownUrl(config, port);
  const claims = await openClaims({ objects, self, instance: host.peerIdHex, log });
  return new SharedFills({
    storage,
    claims,
    context: {
      tracker,
      pool: host.pool,
      http: host.http,
      cluster: host.cluster,
      bans: new BanList(),
      downLimiter: host.downLimiter,
      bounds: host.bounds,
      maxSize: seederCfg.limitSize,
      peerId: host.peerIdHex,
      peerPort: port,
      log,
      metrics,
    },
  });
}

/** How other seeders reach this one: as advertised, else at the address it listens at, else at this host's first one. */
function ownUrl({ seederCfg, daemonCfg, cluster }: SeederConfig, port: number): URL {
  const anywhere = daemonCfg.host === "0.0.0.0" || daemonCfg.host === "::";
  const host = seederCfg.advertise ?? (anywhere ? firstAddress() : daemonCfg.host);
  const scheme = (daemonCfg.certFile ?? cluster.certFile) ? "https" : "http";
  return new URL(`${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`);
}

function firstAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const outer = addresses.filter(({ internal, address }) => !internal && !address.startsWith("fe80:"));
  return (outer.find(({ family }) => family === "IPv4") ?? outer[0])?.address ?? "127.0.0.1";
}
