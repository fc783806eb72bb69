/**
 * The tracker's configuration: `trackerCfg`, `cluster`.
 *
 * @module
 */
import type { z } from "zod";
import { clusterSection } from "./cluster.ts";
import { key, section } from "./keys.ts";
import { verboseKey } from "./shared-keys.ts";
import { checkTlsPair, tlsKeys } from "./tls-pair.ts";
import * as types from "./value-types.ts";

const trackerSection = section({
  host: key(types.host, { fallback: "0.0.0.0", about: "Address that the tracker listens at." }),
  port: key(types.listenPort, { fallback: 6969, about: "The tracker's HTTP port.", example: "6969" }),
  interval: key(types.wholeNumber({ kind: "whole seconds, 1 to 3600", example: "60", min: 1, max: 3600 }), {
    fallback: 60,
    about: "Seconds between two announces that peers are asked to keep.",
  }),
  store: key(types.oneOf(["memory"]), { fallback: "memory", about: "Where swarms are kept: `memory`: this process." }),
  ...tlsKeys(),
  verbose: verboseKey(),
}).superRefine(checkTlsPair);

/** What a tracker's file may hold. */
export const trackerConfigSchema = section({
  trackerCfg: trackerSection.prefault({}),
  cluster: clusterSection.prefault({}),
});

/** A tracker's configuration after loading; `interval` in seconds. */
export type TrackerConfig = z.output<typeof trackerConfigSchema>;
