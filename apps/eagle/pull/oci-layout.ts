/**
 * A directory in the OCI Image Layout (image-spec, "image-layout"): `oci-layout`, `index.json`, `blobs/`. Other tools
 * read it: `skopeo copy oci:DIR:TAG ...`, `podman pull oci:DIR`.
 * @module
 */
import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseDigest } from "../../../lib/registry/digest.ts";
import { hasBlobFile, writeBlobFile } from "./blob-file.ts";
import type { ImageSink } from "./image.ts";
import type { Descriptor } from "./manifest.ts";

const REF_NAME = "org.opencontainers.image.ref.name";

/** A directory that is not ours to write in. */
export class LayoutError extends Error {
  override readonly name = "LayoutError";
  readonly code = "not_a_layout";
}

/** See the module. Holds nothing open. */
export class OciLayout implements ImageSink {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** Opens a layout, or begins one in a directory that is missing or empty. @throws LayoutError for any other */
  static async open(directory: string): Promise<OciLayout> {
    await mkdir(directory, { recursive: true });
    const names = await readdir(directory);
    if (names.length > 0 && !names.includes("oci-layout")) {
      throw new LayoutError(`${directory} holds other things than an OCI layout; name another directory (--output)`);
    }
    await mkdir(join(directory, "blobs"), { recursive: true });
    if (names.length === 0) await replace(join(directory, "oci-layout"), { imageLayoutVersion: "1.0.0" });
    return new OciLayout(directory);
  }

  async has({ digest, size }: Descriptor): Promise<boolean> {
    return await hasBlobFile(this.#path(digest), { digest: parseDigest(digest), size });
  }

  async write({ digest }: Descriptor, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    await mkdir(join(this.directory, "blobs", parseDigest(digest).algorithm), { recursive: true });
    await writeBlobFile(this.#path(digest), bytes);
  }

  /** Enters an image into `index.json`; an earlier one of the same name goes, its blobs stay. */
  async enter(image: Descriptor, tag: string | undefined): Promise<void> {
    const path = join(this.directory, "index.json");
    const entry = tag === undefined ? image : { ...image, annotations: { ...image.annotations, [REF_NAME]: tag } };
    const others = (await entriesOf(path)).filter(
      ({ digest, annotations }) => annotations?.[REF_NAME] !== tag || (tag === undefined && digest !== image.digest),
    );
    const mediaType = "application/vnd.oci.image.index.v1+json";
    await replace(path, { schemaVersion: 2, mediaType, manifests: [...others, entry] });
  }

  #path(digest: string): string {
    const { algorithm, hex } = parseDigest(digest);
    return join(this.directory, "blobs", algorithm, hex);
  }
}

async function entriesOf(path: string): Promise<Descriptor[]> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (text === undefined) return [];
  try {
    const { manifests } = JSON.parse(text) as { manifests?: unknown };
    if (Array.isArray(manifests)) return manifests as Descriptor[];
  } catch {
    // Said below.
  }
  throw new LayoutError(`${path} is no index of an OCI layout`);
}

async function replace(path: string, value: unknown): Promise<void> {
  await writeFile(`${path}.new`, `${JSON.stringify(value, undefined, 2)}\n`);
  await rename(`${path}.new`, path);
}
