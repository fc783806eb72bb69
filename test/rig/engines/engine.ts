/**
 * @module What every container engine of the rig can do.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { blobsOf, type PushedImage } from "../image.ts";

/** A user at a registry. */
export interface Credentials {
  username: string;
  password: string;
}

/** Eagle as the engine's HTTP and HTTPS proxy. */
export interface ProxyRoute {
  url: URL;
  /** A registry that is spoken to without TLS. */
  insecureRegistry?: string;
  /** Certificates that the engine trusts instead of the system's, PEM. */
  caFile?: string;
}

/** The variables that send an engine (all of them are programs in Go) through a proxy. */
export function proxyEnv({ url, caFile }: ProxyRoute): Record<string, string> {
  return { HTTP_PROXY: url.href, HTTPS_PROXY: url.href, ...(caFile === undefined ? {} : { SSL_CERT_FILE: caFile }) };
}

/** A private instance of an engine, with a store of its own. */
export interface Engine {
  readonly name: string;
  /**
   * Pulls an image.
   * @param reference - as a person would type it, such as `docker.io/library/app:1`.
   * @param credentials - for the registry. @default none
   * @throws Error with what the engine said, when the pull fails.
   */
  pull(reference: string, credentials?: Credentials): Promise<void>;
  /**
   * Checks that what the engine stored is what was pushed, byte by byte as far as its store allows.
   * @throws AssertionError
   */
  verify(reference: string, image: PushedImage): Promise<void>;
  /** Drops what a failed pull left, where the engine would take it up again in the next. */
  dropPartials?(): Promise<void>;
  /** Ends the engine and its mounts. Its files go with the rig. */
  close(): Promise<void>;
}

/** `Engine.verify` of one that leaves an OCI layout: every blob of the image is there, and no other. Removes it then. */
export async function verifyLayout(layout: string, image: PushedImage): Promise<void> {
  const directory = `${layout}/blobs/sha256`;
  const pushed = [image.manifest, ...blobsOf(image)].map(({ digest }) => digest);
  assert.deepEqual((await readdir(directory)).sort(), pushed.map(hexOf).sort());
  for (const digest of pushed) assert.equal(await fileDigest(`${directory}/${hexOf(digest)}`), digest);
  await rm(layout, { recursive: true });
}

/** SHA-256 of a file, as `sha256:<hex>`. */
export async function fileDigest(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) hash.update(chunk);
  return `sha256:${hash.digest("hex")}`;
}

/** The hex part of a digest. */
export function hexOf(digest: string): string {
  return digest.slice(digest.indexOf(":") + 1);
}
