/**
 * Which image of an index is wanted.
 * @module
 */
import type { Descriptor, Platform } from "./manifest.ts";

/** Node's names of processors, as OCI (that is, Go) calls them. */
const ARCHITECTURES: Readonly<Record<string, Pick<Platform, "architecture" | "variant">>> = {
  x64: { architecture: "amd64" },
  ia32: { architecture: "386" },
  arm: { architecture: "arm", variant: "v7" },
  mipsel: { architecture: "mipsle" },
  ppc64: { architecture: "ppc64le" },
};

/** The platform of this machine. Containers are Linux on whatever system engines run. */
export function machinePlatform(arch: string = process.arch): Platform {
  return { os: "linux", ...(ARCHITECTURES[arch] ?? { architecture: arch }) };
}

/** Reads `os/architecture[/variant]`. @throws Error for anything else */
export function parsePlatform(text: string): Platform {
  const match = /^([a-z0-9]+)\/([a-z0-9]+)(?:\/([a-z0-9.]+))?$/.exec(text);
  if (!match)
    throw new Error(`${JSON.stringify(text)} is no platform; expected OS/ARCHITECTURE, for example linux/arm64`);
  const [, os = "", architecture = "", variant] = match;
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

/** `linux/arm/v7` */
export function platformText({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join("/");
}

/** The entry for a platform: one with the same variant, else the first that names none or another. */
export function choosePlatform(entries: readonly Descriptor[], wanted: Platform): Descriptor | undefined {
  const fitting = entries.filter(
    ({ platform }) => platform?.os === wanted.os && platform.architecture === wanted.architecture,
  );
  return fitting.find(({ platform }) => platform?.variant === wanted.variant) ?? fitting[0];
}
