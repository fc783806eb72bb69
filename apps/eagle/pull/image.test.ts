/**
 * @module Images against registries that have several platforms, or lie.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { BlobError } from "../../../lib/bt/errors.ts";
import { OriginClient } from "../../../lib/registry/origin-client.ts";
import { type FakeServer, fakeServer } from "../../../lib/registry/testing/fake-registry.ts";
import { type ImageSink, pullImage } from "./image.ts";
import type { Descriptor } from "./manifest.ts";
import { RegistryReader } from "./registry-reader.ts";

const INDEX = "application/vnd.oci.image.index.v1+json";
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";

/** What a registry has: path below `/v2/app/` -> answer. */
class Shelf {
  readonly answers = new Map<string, { type: string; bytes: Buffer }>();

  add(kind: "blobs" | "manifests", type: string, content: string | object, name?: string): Descriptor {
    const bytes = Buffer.from(typeof content === "string" ? content : JSON.stringify(content));
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    for (const key of [digest, ...(name ? [name] : [])]) this.answers.set(`${kind}/${key}`, { type, bytes });
    return { mediaType: type, digest, size: bytes.length };
  }

  image(layer: string): Descriptor {
    const config = this.add("blobs", "application/vnd.oci.image.config.v1+json", `{"of":"${layer}"}`);
    const layers = [this.add("blobs", "application/octet-stream", layer), this.add("blobs", "text/plain", "shared")];
    return this.add("manifests", MANIFEST, { schemaVersion: 2, mediaType: MANIFEST, config, layers });
  }

  index(name: string, manifests: Descriptor[]): Descriptor {
    return this.add("manifests", INDEX, { schemaVersion: 2, mediaType: INDEX, manifests }, name);
  }

  serve(): Promise<FakeServer> {
    return fakeServer((req, res) => {
      const answer = this.answers.get((req.url ?? "").replace("/v2/app/", ""));
      res.writeHead(
        answer ? 200 : 404,
        answer ? { "content-type": answer.type, "content-length": answer.bytes.length } : {},
      );
      res.end(answer?.bytes);
    });
  }
}

class Kept implements ImageSink {
  readonly blobs = new Map<string, string>();
  readonly order: string[] = [];
  async has({ digest }: Descriptor): Promise<boolean> {
    return this.blobs.has(digest);
  }
  async write({ digest }: Descriptor, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of bytes) chunks.push(chunk);
    this.blobs.set(digest, Buffer.concat(chunks).toString());
    this.order.push(digest);
  }
}

const amd64 = { os: "linux", architecture: "amd64" };
const armV7 = { os: "linux", architecture: "arm", variant: "v7" };

async function pulling<T>(shelf: Shelf, work: (reader: RegistryReader) => Promise<T>): Promise<T> {
  await using server = await shelf.serve();
  const client = new OriginClient();
  try {
    const upstream = { name: server.authority, base: new URL(server.url) };
    return await work(new RegistryReader({ client, upstream }));
  } finally {
    await client.close();
  }
}

const query = { repository: "app", reference: "1" };

test("one platform of an index: its manifest is the root, blobs of others are not fetched", async () => {
  const shelf = new Shelf();
  const wanted = shelf.image("for amd64");
  const other = shelf.image("for arm");
  shelf.index("1", [
    { ...other, platform: { ...armV7, variant: "v6" } },
    { ...other, platform: armV7 },
    { ...wanted, platform: amd64 },
  ]);
  const sink = new Kept();
  const { root, blobs } = await pulling(shelf, (reader) => pullImage(reader, { ...query, platform: amd64, sink }));
  assert.equal(root.digest, wanted.digest);
  assert.deepEqual(root.platform, amd64);
  assert.equal(blobs.length, 3);
  assert.equal(sink.blobs.size, 4);
  assert.equal(sink.order.at(-1), wanted.digest, "the manifest comes behind what it names");
  assert.ok([...sink.blobs.values()].includes("for amd64") && ![...sink.blobs.values()].includes("for arm"));
});

test("all platforms: the index is the root; what they share is fetched once", async () => {
  const shelf = new Shelf();
  const index = shelf.index("1", [
    { ...shelf.image("for amd64"), platform: amd64 },
    { ...shelf.image("for arm"), platform: armV7 },
  ]);
  const sink = new Kept();
  const { root, blobs } = await pulling(shelf, (reader) => pullImage(reader, { ...query, platform: undefined, sink }));
  assert.equal(root.digest, index.digest);
  assert.equal(blobs.length, 5);
  assert.equal(sink.blobs.size, 8);
  assert.equal(sink.order.length, 8);
});

test("a platform that is not there: the error names those that are", async () => {
  const shelf = new Shelf();
  shelf.index("1", [{ ...shelf.image("a"), platform: armV7 }]);
  const run = pulling(shelf, (reader) => pullImage(reader, { ...query, platform: amd64, sink: new Kept() }));
  await assert.rejects(run, /no image for linux\/amd64; it has: linux\/arm\/v7/);
});

test("wrong bytes of a blob are refused, and never counted as written", async () => {
  for (const content of ["flipped!", "shorter", "longer than it was"]) {
    const shelf = new Shelf();
    const { digest, size } = shelf.add("blobs", "text/plain", "original");
    const config = shelf.add("blobs", "text/plain", "{}");
    const layers = [{ mediaType: "text/plain", digest, size }];
    shelf.add("manifests", MANIFEST, { schemaVersion: 2, mediaType: MANIFEST, config, layers }, "1");
    shelf.answers.set(`blobs/${digest}`, { type: "text/plain", bytes: Buffer.from(content) });
    const sink = new Kept();
    const run = pulling(shelf, (reader) => pullImage(reader, { ...query, platform: amd64, sink }));
    await assert.rejects(run, (error) => error instanceof BlobError && error.code === "digest_mismatch");
    assert.ok(!sink.blobs.has(digest));
  }
});

test("wrong bytes of a manifest, and things that are no manifests, are refused", async () => {
  const shelf = new Shelf();
  const image = shelf.image("x");
  shelf.answers.set(`manifests/${image.digest}`, { type: MANIFEST, bytes: Buffer.from("{}") });
  shelf.index("lying", [{ ...image, platform: amd64 }]);
  shelf.add("manifests", MANIFEST, "not json", "text");
  shelf.add("manifests", MANIFEST, { schemaVersion: 1, fsLayers: [] }, "old");
  shelf.add(
    "manifests",
    MANIFEST,
    { schemaVersion: 2, mediaType: MANIFEST, config: { digest: "sha256:../.." }, layers: [] },
    "path",
  );
  const cases = {
    lying: /not those of sha256/,
    text: /not JSON/,
    old: /schema version 1/,
    path: /config is no descriptor/,
  };
  for (const [reference, message] of Object.entries(cases)) {
    const run = pulling(shelf, (reader) =>
      pullImage(reader, { ...query, reference, platform: amd64, sink: new Kept() }),
    );
    await assert.rejects(run, message);
  }
});

test("an index in itself ends", async () => {
  const shelf = new Shelf();
  let inner = shelf.index("0", []);
  for (let depth = 1; depth < 6; depth++) inner = shelf.index(String(depth), [{ ...inner, platform: amd64 }]);
  const run = pulling(shelf, (reader) =>
    pullImage(reader, { ...query, reference: "5", platform: amd64, sink: new Kept() }),
  );
  await assert.rejects(run, /too deep/);
});
