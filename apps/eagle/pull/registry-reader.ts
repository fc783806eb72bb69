/**
 * Reads manifests and blobs, from a registry or through a proxy, as a container engine would.
 * @module
 */
import { createHash } from "node:crypto";
import type { HttpResponse } from "../../../lib/http/client.ts";
import { openBlobRead } from "../../../lib/registry/blob-read.ts";
import { createDigestHash, type Digest, isDigest, parseDigest } from "../../../lib/registry/digest.ts";
import { RegistryError, registryErrorCode } from "../../../lib/registry/errors.ts";
import type { OriginClient } from "../../../lib/registry/origin-client.ts";
import { readAll } from "../../../lib/registry/token-exchange.ts";
import type { Upstream } from "../../../lib/registry/upstreams.ts";
import { counted } from "./counted.ts";
import { MANIFEST_TYPES, type RawManifest } from "./manifest.ts";

/** OCI distribution-spec, "Pushing manifests": registries take at least 4 MiB, and hardly one takes more. */
const MAX_MANIFEST = 4 * 1024 * 1024;
const MAX_ERROR = 64 * 1024;

/** How to reach a registry. */
export interface RegistryReaderInit {
  /** Stays the caller's to close. */
  readonly client: OriginClient;
  /** The registry, or a proxy in its place. */
  readonly upstream: Upstream;
  /** At a proxy: the registry that is meant (`?ns=`, as containerd does). @default the proxy's default one */
  readonly ns?: string | undefined;
}

/** A blob whose first bytes are on their way. */
export interface BlobBody {
  /** Bytes, where the other side told. */
  readonly size: number | undefined;
  /** To be iterated once; leaving the loop ends the request. Not checked against the digest. Throws RegistryError. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** See the module. */
export class RegistryReader {
  readonly #init: RegistryReaderInit;
  /** Bytes of blobs so far, by what the other side calls their source. */
  readonly received: Record<string, number> = {};

  constructor(init: RegistryReaderInit) {
    this.#init = init;
  }

  /**
   * @param reference Tag or digest.
   * @throws RegistryError; protocol when the bytes are not those of the digest
   */
  async manifest(repository: string, reference: string, signal?: AbortSignal): Promise<RawManifest> {
    const { upstream } = this.#init;
    const what = `manifest ${reference} of ${upstream.name}/${repository}`;
    const response = await this.#get(`/v2/${repository}/manifests/${reference}`, {
      headers: { accept: MANIFEST_TYPES.join(", ") },
      signal,
    });
    if (response.status !== 200) throw await refusal(response, what);
    const bytes = await readAll(response.body, { maxBytes: MAX_MANIFEST, what });
    const told = isDigest(reference) ? reference : (response.headers.get("docker-content-digest") ?? "");
    const digest = isDigest(told) ? told : `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    if (createDigestHash(parseDigest(digest)).update(bytes).digest("hex") !== parseDigest(digest).hex) {
      throw new RegistryError("protocol", `${what}: its bytes are not those of ${digest}`);
    }
    const mediaType = response.headers.get("content-type")?.split(";", 1)[0]?.trim().toLowerCase() ?? "";
    return { bytes, digest, mediaType };
  }

  /** Begins to read a blob; goes on by itself over cut connections. @throws RegistryError */
  async blob(repository: string, digest: Digest, signal?: AbortSignal): Promise<BlobBody> {
    const { upstream } = this.#init;
    const what = `blob ${digest} of ${upstream.name}/${repository}`;
    let source = "origin";
    const read = await openBlobRead({
      what,
      ...(signal ? { signal } : {}),
      send: async (request) => {
        const response = await this.#get(`/v2/${repository}/blobs/${digest}`, request);
        if (response.status >= 400 && response.status !== 416) throw await refusal(response, what);
        source = nameOf(response.headers.get("x-eagle-source"));
        return response;
      },
    });
    const { received } = this;
    const bytes = counted(read.body, (count) => {
      received[source] = (received[source] ?? 0) + count;
    });
    return { size: read.size, bytes };
  }

  #get(
    path: string,
    {
      headers,
      signal,
      headersTimeoutMs,
    }: {
      headers: Record<string, string>;
      signal?: AbortSignal | undefined;
      headersTimeoutMs?: number;
    },
  ): Promise<HttpResponse> {
    const { client, upstream, ns } = this.#init;
    return client.request(upstream, {
      method: "GET",
      path: ns === undefined ? path : `${path}?ns=${encodeURIComponent(ns)}`,
      headers,
      caller: { kind: "configured" },
      ...(signal ? { signal } : {}),
      ...(headersTimeoutMs === undefined ? {} : { headersTimeoutMs }),
    });
  }
}

/** A proxy that had no byte yet when it answered cannot tell where the first one will come from. */
function nameOf(source: string | null): string {
  if (source === null) return "origin";
  return /^(?:cache|peer|seeder|origin|wire)$/.test(source) ? source : "proxy";
}

/** An error with what the other side said (OCI distribution-spec, "Error Codes"). */
async function refusal(response: HttpResponse, what: string): Promise<RegistryError> {
  const { status, headers, body } = response;
  const challenge = headers.get("www-authenticate");
  const said = await readAll(body, { maxBytes: MAX_ERROR, what }).then(messageOf, () => "");
  body.destroy();
  const text = `${what}: answered ${status}${said === "" ? "" : `: ${said}`}`;
  return new RegistryError(registryErrorCode(status), text, { status, ...(challenge ? { challenge } : {}) });
}

function messageOf(body: Uint8Array): string {
  try {
    const { errors } = JSON.parse(Buffer.from(body).toString()) as { errors?: { code?: unknown; message?: unknown }[] };
    const first = errors?.[0];
    return [first?.code, first?.message]
      .filter((part) => typeof part === "string")
      .join(": ")
      .replace(/\p{Cc}+/gu, " ")
      .slice(0, 500);
  } catch {
    return "";
  }
}
