/**
 * The proxy's configuration: `clientCfg`, `proxyCfg`, `registries`, `cluster`.
 *
 * @module
 */
import type { z } from "zod";
import { clientSection } from "./client.ts";
import { clusterSection } from "./cluster.ts";
import { checkIntercept, checkInterceptFiles, interceptKeys } from "./intercept.ts";
import { key, section } from "./keys.ts";
import { checkPorts } from "./port-clash.ts";
import { registriesSection } from "./registries.ts";
import { originKeys, verboseKey } from "./shared-keys.ts";
import { checkTlsPair, tlsKeys } from "./tls-pair.ts";
import * as types from "./value-types.ts";

const proxySection = section({
  host: key(types.host, {
    fallback: "127.0.0.1",
    about: "Address that the registry mirror and HTTP proxy listens at.",
    example: "127.0.0.1",
  }),
  port: key(types.listenPort, { fallback: 43002, about: "Port of the registry mirror and HTTP proxy." }),
  ...originKeys(),
  rules: key(types.listOf(types.pattern), {
    fallback: [],
    about:
      "What goes peer to peer: blobs whose whole upstream URL matches one of these. Empty: the blobs of all allowed " +
      "registries. The rest is streamed from the registry.",
  }),
  staleTags: key(types.flag, {
    fallback: true,
    about:
      "While a registry does not answer (no connection, no answer in time, 5xx, 429), answer a tag by what it last stood for, with a `Warning`. A " +
      "registry that says 401, 403 or 404 is always heard.",
  }),
  ...tlsKeys(),
  verbose: verboseKey(),
  authorize: key(types.oneOf(["private", "always", "never"]), {
    fallback: "private",
    about:
      "Whose right is checked at the registry. `private`: what anyone may read is given to all after one check, for the " +
      "rest each caller is checked; `always`: each caller, for every blob; `never`: nobody is checked for what not " +
      "everybody may read, since it is streamed from the registry past the cache.",
  }),
  allowClients: key(types.allowClients, {
    fallback: "loopback",
    about: "Who may use this port.",
  }),
  connectPorts: key(types.listOf(types.connectPort), {
    fallback: [443],
    about: "Ports that CONNECT may open at allowed hosts.",
  }),
  ...interceptKeys(),
})
  .superRefine(checkTlsPair)
  .superRefine(checkInterceptFiles);

/** What a proxy's file may hold. */
export const proxyConfigSchema = section({
  clientCfg: clientSection.prefault({}),
  proxyCfg: proxySection.prefault({}),
  registries: registriesSection.prefault({}),
  cluster: clusterSection.prefault({}),
}).superRefine(({ clientCfg, proxyCfg, registries }, context) => {
  checkIntercept(proxyCfg, registries, context);
  checkPorts(
    [
      { path: ["clientCfg", "peerPort"], port: clientCfg.peerPort },
      { path: ["clientCfg", "port"], port: clientCfg.bittorrent ? clientCfg.port : 0 },
      { path: ["proxyCfg", "port"], port: proxyCfg.port },
    ],
    context,
  );
});

/** A proxy's configuration after loading: sizes in bytes, lists, compiled rules, files read. */
export type ProxyConfig = z.output<typeof proxyConfigSchema>;
