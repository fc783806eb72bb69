/**
 * The seeder's configuration: `seederCfg`, `daemonCfg`, `registries`, `cluster`.
 *
 * @module
 */
import type { z } from "zod";
import { clusterSection } from "./cluster.ts";
import { key, section } from "./keys.ts";
import { checkPorts } from "./port-clash.ts";
import { registriesSection } from "./registries.ts";
import { checkBucket, s3Section } from "./s3.ts";
import { originKeys, sharingKeys, verboseKey } from "./shared-keys.ts";
import { checkTlsPair, tlsKeys } from "./tls-pair.ts";
import * as types from "./value-types.ts";

const { port, bittorrent, trackers, ...sharing } = sharingKeys({
  port: 61008,
  rootDirectory: "/data/bt/seeder",
  limitSize: "1T",
});

const seederSection = section({
  port,
  bittorrent,
  ...originKeys(),
  trackers,
  ...sharing,
  storageBackend: key(types.oneOf(["fs", "s3", "memory"]), {
    fallback: "fs",
    about:
      "Where blobs are kept. `fs`: in `rootDirectory`. `s3`: in a bucket, which several seeders may share; " +
      "`rootDirectory` and `limitSize` then bound a copy of what is in demand. `memory`: in this process, for tests.",
  }),
  tagTTL: key(types.seconds({ min: 0, max: 3600, example: "5" }), {
    fallback: 1,
    about:
      "Seconds for which what a registry says of a public tag is told to proxies without asking it again. So many hosts " +
      "that pull one tag are few questions; a tag that moves is seen at most so much later. 0: only those who ask at the " +
      "same moment share an answer.",
  }),
  s3: s3Section().prefault({}),
}).superRefine(checkBucket);

const daemonSection = section({
  host: key(types.host, { fallback: "0.0.0.0", about: "Address that the seeder's HTTP port listens at." }),
  port: key(types.listenPort, {
    fallback: 55008,
    about: "The seeder's HTTP port: metainfo calls, pieces, torrents, health, metrics.",
    example: "55008",
  }),
  ...tlsKeys(),
  verbose: verboseKey(),
}).superRefine(checkTlsPair);

/** What a seeder's file may hold. */
export const seederConfigSchema = section({
  seederCfg: seederSection.prefault({}),
  daemonCfg: daemonSection.prefault({}),
  registries: registriesSection.prefault({}),
  cluster: clusterSection.prefault({}),
}).superRefine(({ seederCfg, daemonCfg }, context) => {
  checkPorts(
    [
      { path: ["seederCfg", "port"], port: seederCfg.bittorrent ? seederCfg.port : 0 },
      { path: ["daemonCfg", "port"], port: daemonCfg.port },
    ],
    context,
  );
});

/** A seeder's configuration after loading: sizes in bytes, lists, files read. */
export type SeederConfig = z.output<typeof seederConfigSchema>;
