/**
 * The configuration room's door: what apps and the rest of lib may use of it.
 *
 * @module
 */
export { type AllowClients, parseAllowClients } from "./allow-clients.ts";
export type { ClientConfig } from "./client.ts";
export type { ClusterConfig } from "./cluster.ts";
export { type EndpointOptions, parseEndpoint, parseHost, parseOrigin } from "./endpoint.ts";
export { ConfigError, type ConfigErrorCode, type ConfigProblem } from "./errors.ts";
export { type LoadOptions, loadConfig } from "./load.ts";
export { type MinFree, minFreeBytes, parseMinFree } from "./min-free.ts";
export { type ProxyConfig, proxyConfigSchema } from "./proxy.ts";
export { type RegistriesConfig, type RegistryInit, registryInits } from "./registries.ts";
export { type SeederConfig, seederConfigSchema } from "./seeder.ts";
export { formatSize, parseSize } from "./size.ts";
export type { TextFile } from "./text-file.ts";
export { type TrackerConfig, trackerConfigSchema } from "./tracker.ts";
