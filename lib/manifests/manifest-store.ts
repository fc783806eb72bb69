/**
 * Manifests by digest, and what tags last stood for, of each repository apart: what one repository has tells nothing of
 * another. In memory within bounds, and as small files, so that a restart forgets nothing.
 * @module
 */
import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Logger } from "../log/log.ts";
import { type Digest, isDigest, parseDigest } from "../registry/digest.ts";
import { agrees, isMediaType, MAX_MANIFEST_BYTES, type Manifest, type Place, type Resolved } from "./manifest.ts";
import { ManifestFiles } from "./manifest-files.ts";

/** A manifest that is kept. */
export interface StoredManifest extends Manifest {
  /** The origin gave it to the anonymous when it was last asked. */
  readonly isPublic: boolean;
}

/** What a tag stood for when the origin was last asked. */
export interface StoredTag extends Resolved {
  readonly isPublic: boolean;
  /** When the origin said so to this process, monotonic ms; undefined: it said so to an earlier one. */
  readonly at: number | undefined;
}

export interface ManifestStoreInit {
  /** Where files are kept. @default in memory alone */
  readonly directory?: string;
  /** Bytes of blobs that the host may keep: files of manifests take a hundredth of that at most. @default no such limit */
  readonly limitSize?: number;
  /** Bytes of manifests in memory. @default 32 MiB */
  readonly maxBytes?: number;
  /** Tags in memory. @default 20000 */
  readonly maxTags?: number;
  readonly log?: Logger;
}

/** Bounds of all files, bytes. */
const FILES_BYTES = { least: 1024 * 1024, most: 256 * 1024 * 1024 };
/** What an entry in memory costs beside its bytes. */
const ENTRY_BYTES = 512;
const MAX_HEAD_BYTES = 16 * 1024;

/** See the module. Close it. */
export class ManifestStore {
  readonly #manifests: LRUCache<string, StoredManifest>;
  readonly #tags: LRUCache<string, StoredTag>;
  readonly #files: ManifestFiles | undefined;

  constructor({
    directory,
    limitSize = Number.MAX_SAFE_INTEGER,
    maxBytes = 32 * 1024 * 1024,
    maxTags = 20_000,
    log,
  }: ManifestStoreInit = {}) {
    this.#manifests = new LRUCache({
      maxSize: maxBytes,
      maxEntrySize: MAX_MANIFEST_BYTES + ENTRY_BYTES,
      sizeCalculation: ({ bytes }) => bytes.length + ENTRY_BYTES,
    });
    this.#tags = new LRUCache({ max: maxTags });
    const share = Math.max(FILES_BYTES.least, Math.min(FILES_BYTES.most, limitSize / 100));
    this.#files =
      directory === undefined ? undefined : new ManifestFiles({ directory, maxBytes: share, ...(log ? { log } : {}) });
  }

  /** @returns undefined when it is not here; what is returned agrees with its digest. */
  async manifest(place: Place, digest: Digest): Promise<StoredManifest | undefined> {
    const key = keyOf(place, digest.toString());
    const kept = this.#manifests.get(key);
    if (kept || !this.#files) return kept;
    const name = fileOf(key, "manifest");
    const file = await this.#files.read(name, MAX_MANIFEST_BYTES + MAX_HEAD_BYTES);
    if (!file) return undefined;
    const found = this.#manifests.get(key) ?? parseManifestFile(file, key, digest);
    if (found) this.#manifests.set(key, found);
    else this.#files.remove(name);
    return found;
  }

  /** Keeps a manifest, whose bytes the caller has checked. */
  putManifest(place: Place, manifest: Manifest, { isPublic }: { isPublic: boolean }): void {
    const { digest, mediaType, size, bytes } = manifest;
    const key = keyOf(place, digest.toString());
    const before = this.#manifests.get(key);
    if (before?.isPublic === isPublic && before.mediaType === mediaType) return;
    this.#manifests.set(key, { digest, mediaType, size, bytes, isPublic });
    this.#files?.write(fileOf(key, "manifest"), manifestFile(key, { digest, mediaType, size, bytes, isPublic }));
  }

  dropManifest(place: Place, digest: Digest): void {
    const key = keyOf(place, digest.toString());
    this.#manifests.delete(key);
    this.#files?.remove(fileOf(key, "manifest"));
  }

  /** @param acceptKey of the `Accept` that was answered. */
  async tag(place: Place, tag: string, acceptKey: string): Promise<StoredTag | undefined> {
    const key = keyOf(place, tag, acceptKey);
    const kept = this.#tags.get(key);
    if (kept || !this.#files) return kept;
    const name = fileOf(key, "tag");
    const file = await this.#files.read(name, MAX_HEAD_BYTES);
    if (!file) return undefined;
    const found = this.#tags.get(key) ?? parseTagFile(file, key);
    if (found) this.#tags.set(key, found);
    else this.#files.remove(name);
    return found;
  }

  /** @param at Monotonic ms. */
  putTag(
    place: Place,
    tag: string,
    acceptKey: string,
    { digest, mediaType, size }: Resolved,
    { isPublic, at }: { isPublic: boolean; at: number },
  ): void {
    const key = keyOf(place, tag, acceptKey);
    const before = this.#tags.get(key);
    this.#tags.set(key, { digest, mediaType, size, isPublic, at });
    const isSame =
      before?.digest.toString() === digest.toString() && before.isPublic === isPublic && before.mediaType === mediaType;
    if (!isSame) this.#files?.write(fileOf(key, "tag"), tagFile(key, { digest, mediaType, size, isPublic }));
  }

  dropTag(place: Place, tag: string, acceptKey: string): void {
    const key = keyOf(place, tag, acceptKey);
    this.#tags.delete(key);
    this.#files?.remove(fileOf(key, "tag"));
  }

  async close(): Promise<void> {
    await this.#files?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** No part of it may hold a line break. */
function keyOf({ upstream, repository }: Place, ...rest: string[]): string {
  return [upstream.name, repository, ...rest].join("\n");
}

function fileOf(key: string, kind: "manifest" | "tag"): string {
  return `${createHash("sha256").update(key).digest("hex")}.${kind}`;
}

/** One line of JSON, then the bytes. */
function manifestFile(key: string, { digest, mediaType, bytes, isPublic }: StoredManifest): Buffer {
  const head = JSON.stringify({ key, digest: digest.toString(), mediaType, isPublic });
  return Buffer.concat([Buffer.from(`${head}\n`), bytes]);
}

function parseManifestFile(file: Buffer, key: string, digest: Digest): StoredManifest | undefined {
  const end = file.indexOf("\n");
  const head = end < 0 ? undefined : headOf(file.subarray(0, end), key);
  const bytes = file.subarray(end + 1);
  if (!head || head.digest !== digest.toString() || !agrees(bytes, digest)) return undefined;
  const { mediaType, isPublic } = head;
  return { digest, mediaType, size: bytes.length, bytes, isPublic };
}

function tagFile(key: string, { digest, ...rest }: Omit<StoredTag, "at">): Buffer {
  return Buffer.from(JSON.stringify({ key, digest: digest.toString(), ...rest }));
}

function parseTagFile(file: Buffer, key: string): StoredTag | undefined {
  const head = headOf(file, key);
  if (!head || !Number.isSafeInteger(head.size) || head.size! < 0) return undefined;
  const { digest, mediaType, size, isPublic } = head;
  return { digest: parseDigest(digest), mediaType, size: size!, isPublic, at: undefined };
}

interface Head {
  digest: string;
  mediaType: string;
  isPublic: boolean;
  size?: number;
}

function headOf(text: Buffer, key: string): Head | undefined {
  try {
    const head = JSON.parse(text.toString("utf8")) as Partial<Head> & { key?: unknown };
    const { digest, mediaType, isPublic, size } = head;
    if (head.key !== key || typeof digest !== "string" || !isDigest(digest)) return undefined;
    if (typeof mediaType !== "string" || !isMediaType(mediaType)) return undefined;
    return { digest, mediaType, isPublic: isPublic === true, ...(typeof size === "number" ? { size } : {}) };
  } catch {
    return undefined;
  }
}
