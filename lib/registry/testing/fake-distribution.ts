/**
 * A registry in memory, on loopback, that behaves as OCI's distribution-spec says, counts, and misbehaves to order: for
 * tests alone.
 * @module
 */
import { createHash } from "node:crypto";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** A manifest of the registry. */
export interface FakeManifest {
  readonly digest: string;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/** How the registry answers. All can be changed while it runs. */
export interface FakeManners {
  /** The `Authorization` it takes to read a repository; none: anyone may. */
  authorize: Map<string, string>;
  /** Answers everything with this status. */
  status: number | undefined;
  /** Changes bytes of manifests on their way out. */
  corrupt: boolean;
  /** HEAD is 405. */
  noHead: boolean;
  /** No `Docker-Content-Digest`. */
  noDigest: boolean;
  /** Before each answer, ms. */
  delayMs: number;
  /** Further headers of each answer. */
  headers: Record<string, string>;
}

export interface FakeDistribution extends AsyncDisposable {
  readonly url: string;
  /** `127.0.0.1:<port>` */
  readonly authority: string;
  /** Requests as `METHOD target`. */
  readonly requests: string[];
  /** Their headers, in the same order. */
  readonly headers: http.IncomingHttpHeaders[];
  readonly manners: FakeManners;
  /** Makes a manifest and tags it. */
  manifest(repository: string, value: object, init?: ManifestInit): FakeManifest;
  /** Adds a blob. @returns its digest */
  blob(repository: string, bytes: Uint8Array, init?: { algorithm?: "sha256" | "sha512" }): string;
  remove(repository: string, reference: string): void;
  /** Refuses connections until `up`. */
  down(): Promise<void>;
  up(): Promise<void>;
  close(): Promise<void>;
}

export interface ManifestInit {
  tag?: string;
  mediaType?: string;
  algorithm?: "sha256" | "sha512";
}

export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
export const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
export const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";

export async function fakeDistribution(): Promise<FakeDistribution> {
  const stored = new Map<string, FakeManifest>();
  const blobs = new Map<string, Buffer>();
  const sockets = new Set<Socket>();
  const requests: string[] = [];
  const headers: http.IncomingHttpHeaders[] = [];
  const manners: FakeManners = {
    authorize: new Map(),
    status: undefined,
    corrupt: false,
    noHead: false,
    noDigest: false,
    delayMs: 0,
    headers: {},
  };
  let server: http.Server | undefined;
  let port = 0;

  const answer = async (req: IncomingMessage, res: ServerResponse) => {
    const { method = "GET", url = "/" } = req;
    requests.push(`${method} ${url}`);
    headers.push(req.headers);
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    if (manners.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, manners.delayMs));
    for (const [name, value] of Object.entries(manners.headers)) res.setHeader(name, value);
    const [path = "", query = ""] = url.split("?", 2);
    const found = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/(.+)$/.exec(path);
    if (manners.status !== undefined) return fail(res, manners.status, "UNAVAILABLE");
    if (path === "/v2/") return send(req, res, 200, Buffer.from("{}"), { "content-type": "application/json" });
    if (!found) return fail(res, 404, "NAME_UNKNOWN");
    const [, repository = "", kind, reference = ""] = found;
    const wanted = manners.authorize.get(repository);
    if (wanted !== undefined && req.headers.authorization !== wanted) {
      res.setHeader("www-authenticate", `Basic realm="${repository}"`);
      return fail(res, 401, "UNAUTHORIZED");
    }
    if (method !== "GET" && method !== "HEAD") {
      const body = Buffer.concat(chunks);
      if (method === "PUT" && kind === "manifests") {
        const mediaType = req.headers["content-type"] ?? OCI_MANIFEST;
        const digest = `sha256:${createHash("sha256").update(body).digest("hex")}`;
        for (const name of [digest, reference]) stored.set(`${repository} ${name}`, { digest, mediaType, bytes: body });
        return send(req, res, 201, Buffer.alloc(0), { location: `/v2/${repository}/manifests/${digest}` });
      }
      if (method === "DELETE" && kind === "manifests") stored.delete(`${repository} ${reference}`);
      const said = { location: `/v2/${repository}/blobs/uploads/1?state=a`, "x-got": String(body.length) };
      return send(req, res, 202, Buffer.alloc(0), said);
    }
    if (kind === "tags") {
      const link = { link: `</v2/${repository}/tags/list?n=1&last=a>; rel="next"`, "content-type": "application/json" };
      return send(req, res, 200, Buffer.from(JSON.stringify({ name: repository, query })), link);
    }
    if (kind === "referrers")
      return send(req, res, 200, Buffer.from(JSON.stringify({ query })), { "content-type": OCI_INDEX });
    if (kind === "blobs") {
      const blob = blobs.get(`${repository} ${reference}`);
      if (!blob) return fail(res, 404, "BLOB_UNKNOWN");
      return send(req, res, 200, blob, { "docker-content-digest": reference });
    }
    if (method === "HEAD" && manners.noHead) return fail(res, 405, "UNSUPPORTED");
    const manifest = stored.get(`${repository} ${reference}`);
    const accept = req.headers.accept;
    if (!manifest || (accept !== undefined && !accept.includes(manifest.mediaType) && !accept.includes("*/*")))
      return fail(res, 404, "MANIFEST_UNKNOWN");
    const bytes = Buffer.from(manifest.bytes);
    if (manners.corrupt) bytes[0]! ^= 1;
    return send(req, res, 200, bytes, {
      "content-type": manifest.mediaType,
      ...(manners.noDigest ? {} : { "docker-content-digest": manifest.digest, etag: `"${manifest.digest}"` }),
    });
  };

  const fake: FakeDistribution = {
    get url() {
      return `http://127.0.0.1:${port}`;
    },
    get authority() {
      return `127.0.0.1:${port}`;
    },
    requests,
    headers,
    manners,
    manifest(repository, value, { tag, mediaType = OCI_MANIFEST, algorithm = "sha256" } = {}) {
      const bytes = Buffer.from(JSON.stringify(value));
      const digest = `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
      const manifest = { digest, mediaType, bytes };
      stored.set(`${repository} ${digest}`, manifest);
      if (tag !== undefined) stored.set(`${repository} ${tag}`, manifest);
      return manifest;
    },
    blob(repository, bytes, { algorithm = "sha256" } = {}) {
      const digest = `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
      blobs.set(`${repository} ${digest}`, Buffer.from(bytes));
      return digest;
    },
    remove(repository, reference) {
      stored.delete(`${repository} ${reference}`);
    },
    async down() {
      const closing = server;
      server = undefined;
      if (!closing) return;
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => closing.close(resolve));
    },
    async up() {
      const opening = http.createServer((req, res) => {
        answer(req, res).catch(() => res.destroy());
      });
      opening.on("connection", (socket) => {
        sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => sockets.delete(socket));
      });
      await new Promise<void>((resolve) => opening.listen(port, "127.0.0.1", resolve));
      port = (opening.address() as AddressInfo).port;
      server = opening;
    },
    close: () => fake.down(),
    [Symbol.asyncDispose]: () => fake.down(),
  };
  await fake.up();
  return fake;
}

function send(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  body: Buffer,
  headers: Record<string, string>,
): void {
  const range = /^bytes=(\d+)-(\d*)$/.exec(req.headers.range ?? "");
  if (range && status === 200 && body.length > 0) {
    const start = Number(range[1]);
    const end = range[2] ? Math.min(body.length, Number(range[2]) + 1) : body.length;
    const part = body.subarray(start, end);
    res.writeHead(206, {
      ...headers,
      "content-range": `bytes ${start}-${end - 1}/${body.length}`,
      "content-length": part.length,
    });
    res.end(req.method === "HEAD" ? undefined : part);
    return;
  }
  res.writeHead(status, { ...headers, "content-length": body.length });
  res.end(req.method === "HEAD" ? undefined : body);
}

function fail(res: ServerResponse, status: number, code: string): void {
  const body = JSON.stringify({ errors: [{ code, message: "as ordered" }] });
  res.writeHead(status, { "content-type": "application/json", "content-length": body.length });
  res.end(body);
}
