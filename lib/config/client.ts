/**
 * `clientCfg`: the EagleClient inside the proxy.
 *
 * @module
 */
import type { z } from "zod";
import { key, section } from "./keys.ts";
import { sharingKeys } from "./shared-keys.ts";
import * as types from "./value-types.ts";

const { port, bittorrent, trackers, ...sharing } = sharingKeys({
  port: 61007,
  rootDirectory: "/data/bt/proxy",
  limitSize: "100G",
});

/** The section `clientCfg`. */
export const clientSection = section({
  port,
  peerPort: key(types.listenPort, {
    fallback: 61006,
    about: "HTTP port that serves verified pieces to other hosts.",
    example: "61006",
  }),
  peerHost: key(types.host, { fallback: "0.0.0.0", about: "Address that `peerPort` and `port` listen at." }),
  bittorrent,
  trackers,
  seeders: key(types.listOf(types.seeder), {
    fallback: [],
    about: "Seeders. Calls go round all that answer. Port 55008 may be left out.",
    example: "[seeder-1:55008, seeder-2:55008]",
  }),
  ...sharing,
  policy: key(types.oneOf(["round_robin", "rendezvous"]), {
    fallback: "round_robin",
    about:
      "Which seeder is asked: each in turn, or `rendezvous`: all hosts ask the same seeder for the same blob, so that " +
      "several seeders keep different blobs.",
  }),
});

/** `clientCfg` after loading: sizes and rates in bytes, downloadTimeout in seconds, trackers in tiers. */
export type ClientConfig = z.output<typeof clientSection>;
