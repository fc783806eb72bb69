/**
 * Keys that several sections have in common.
 *
 * @module
 */
import { key, optionalKey } from "./keys.ts";
import * as types from "./value-types.ts";

/** Keys of whoever stores blobs and shares them: `clientCfg` and `seederCfg`. */
export function sharingKeys({
  port,
  rootDirectory,
  limitSize,
}: {
  port: number;
  rootDirectory: string;
  limitSize: string;
}) {
  return {
    port: key(types.listenPort, {
      fallback: port,
      about: "TCP port of the standard BitTorrent wire (used with `bittorrent: true`).",
      example: String(port),
    }),
    bittorrent: key(types.flag, {
      fallback: true,
      about: "Also speak the standard BitTorrent wire, to share with ordinary clients. The only part that is not HTTP.",
    }),
    trackers: key(types.trackerTiers, {
      fallback: [],
      about:
        "Trackers. All of a list are told at once; in a list of lists each list is a tier, and the next one is asked " +
        "only when no tracker of the one before answers. Port 6969 and path `/announce` may be left out.",
    }),
    advertise: optionalKey(types.host, {
      about:
        "IP address that others reach this one at; trackers believe it of parts of the cluster alone (`cluster`). A name is " +
        "of use only to seeders that share a bucket. Not given: the address of the socket to the tracker.",
      example: "10.1.2.3",
    }),
    zone: optionalKey(types.label, {
      about:
        "Label of this host's place (rack, data centre, availability zone): peers of the same zone are asked first.",
    }),
    rootDirectory: key(types.directory, {
      fallback: rootDirectory,
      about: "Directory of the blobs; made at start when missing. One process at a time.",
      example: rootDirectory,
    }),
    limitSize: key(types.room, {
      fallback: limitSize,
      about: "Most bytes of blobs kept; the least recently used go first. Larger blobs are passed through, not kept.",
      example: limitSize,
    }),
    minFree: key(types.minFree, {
      fallback: "5%",
      about: "Space of the disk that is left free, whatever `limitSize` says.",
    }),
    ttl: optionalKey(types.duration, {
      about:
        "A blob that nobody used for longer than this is removed; of a seeder that stores blobs elsewhere the copy on " +
        "its disk. Not given: only `limitSize` and `minFree` count.",
    }),
    scrubRate: key(types.size, {
      fallback: "4M",
      about:
        "Bytes per second of stored blobs that are read again in the background to find those that the disk has " +
        "damaged: such a blob is removed, and fetched anew when it is asked for. Pauses while blobs arrive. Of a seeder " +
        "that stores blobs elsewhere the copies on its disk: all else is verified whenever it is read. 0: never.",
      example: "4M",
    }),
    downloadRateLimit: key(types.size, {
      fallback: 0,
      about: "Bytes per second this host takes from peers, seeders and registries together; 0: no limit.",
      example: "50M",
    }),
    uploadRateLimit: key(types.size, {
      fallback: 0,
      about: "Bytes per second this host gives to peers; 0: no limit. The local engine is never limited.",
      example: "50M",
    }),
    downloadTimeout: key(types.seconds({ min: 0.1, max: 3600, example: "30" }), {
      fallback: 30,
      about:
        "Seconds without a byte after which a registry, seeder or peer that has begun to answer is given up; never a limit " +
        "of the whole download.",
    }),
    firstByteTimeout: key(types.seconds({ min: 0.1, max: 600, example: "5" }), {
      fallback: 5,
      about:
        "Seconds within which a blob's answer begins, or it is decided that it cannot: half of it is the patience with one " +
        "that is silent, then another is asked, and the registry before the time is over.",
    }),
    dialTimeout: key(types.seconds({ min: 0.1, max: 600, example: "5" }), {
      fallback: 5,
      about: "Seconds that a connection to a registry, seeder, tracker or peer may take, its TLS included.",
    }),
    headerTimeout: key(types.seconds({ min: 0.1, max: 3600, example: "30" }), {
      fallback: 30,
      about: "Seconds from a request to a registry, seeder or peer to the beginning of its answer.",
    }),
  };
}

/** Keys of whoever talks to registries: `proxyCfg` and `seederCfg`. */
export function originKeys() {
  return {
    origin: optionalKey(types.origin, {
      about:
        "Registry that requests without another one named in them go to. Without a scheme: HTTPS, except for loopback " +
        "and `plainHTTP`.",
      example: "registry.example.com",
    }),
    origins: key(types.listOf(types.origin), {
      fallback: [],
      about: "Further registries that may be asked.",
      example: "[docker.io, quay.io]",
    }),
  };
}

/** `verbose`, the same on every port. */
export function verboseKey() {
  return key(types.flag, { fallback: false, about: "Log at level debug." });
}
