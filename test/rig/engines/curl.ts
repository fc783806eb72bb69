/**
 * @module curl as a client without any mercy: one request a blob, no retry, and every byte hashed.
 */
import assert from "node:assert/strict";
import { mkdir, readFile, rm } from "node:fs/promises";
import { blobsOf, type PushedImage } from "../image.ts";
import type { Rig } from "../rig.ts";
import { type Engine, fileDigest, hexOf } from "./engine.ts";

/** Makes a curl that pulls from a registry mirror, whatever registry a reference names. */
export async function createCurl(rig: Rig, { mirror, name = "curl" }: { mirror: URL; name?: string }): Promise<Engine> {
  const layout = (reference: string) => rig.path(`${name}-${reference.replace(/[^a-z0-9]/gi, "-")}`);
  return rig.use({
    name,
    pull: async (reference: string) => {
      const directory = layout(reference);
      await mkdir(directory, { recursive: true });
      const [, repository, tag] = /^[^/]+\/(.+):([^:]+)$/.exec(reference) ?? [];
      const get = async (path: string, file: string) => {
        const flags = ["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "120"];
        const accept = ["--header", "Accept: application/vnd.oci.image.manifest.v1+json"];
        const url = new URL(`/v2/${repository}/${path}`, mirror);
        await rig.processes.run("curl", [...flags, ...accept, "--output", `${directory}/${file}`, url.href], { name });
      };
      await get(`manifests/${tag}`, "manifest");
      const { config, layers } = JSON.parse(await readFile(`${directory}/manifest`, "utf8")) as StoredManifest;
      await Promise.all([config, ...layers].map(({ digest }) => get(`blobs/${digest}`, hexOf(digest))));
    },
    verify: async (reference: string, image: PushedImage) => {
      const directory = layout(reference);
      assert.equal(await fileDigest(`${directory}/manifest`), image.manifest.digest);
      for (const { digest } of blobsOf(image)) assert.equal(await fileDigest(`${directory}/${hexOf(digest)}`), digest);
      await rm(directory, { recursive: true });
    },
    close: async () => {},
  });
}

interface StoredManifest {
  config: { digest: string };
  layers: { digest: string }[];
}
