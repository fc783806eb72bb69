/**
 * @module Every kind of client gets the same metainfo from the same port of a seeder, on Node and on Deno.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { credentials, loadPackageDefinition, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import bencode from "bencode";
import { MetaInfo } from "../../lib/rpc/gen/metainfo/metainfo_pb.ts";
import { content } from "../rig/blob-content.ts";
import { type Cluster, registryName, startCluster } from "../rig/cluster.ts";
import { type Runtime, repositoryRoot } from "../rig/eagle.ts";
import { fileDigest, hexOf } from "../rig/engines/engine.ts";
import type { Descriptor } from "../rig/image.ts";
import { Rig } from "../rig/rig.ts";
import { need } from "../rig/tools.ts";

const skip = need({ tools: ["docker-registry", "curl"] });
const repository = "library/meta";
const size = 9_000_000;
const path = (digest: string) => `/v2/${repository}/blobs/${digest}`;

/** The info dictionary of each runtime, to be compared at the end. */
const infoByRuntime = new Map<Runtime, Buffer>();

for (const runtime of ["node", "deno"] as const) {
  describe(`MetaInfo on ${runtime}`, { skip }, () => {
    let rig: Rig;
    let cluster: Cluster;
    let blob: Descriptor;
    let url: string;
    let expected: Buffer;

    before(async () => {
      rig = await Rig.create();
      cluster = await startCluster(rig, { proxies: 0, runtime });
      blob = await cluster.pushBlob(repository, size);
      url = `http://${registryName}${path(blob.digest)}`;
      expected = Buffer.from(await askWithGrpcJs(cluster.seeder.url, url));
    });
    after(() => rig.close());

    test("grpc-js gets the exact metainfo of the design", () => {
      const { info } = bencode.decode(expected) as { info: Record<string, Uint8Array & number> };
      infoByRuntime.set(runtime, Buffer.from(bencode.encode(info)));
      assert.equal(Buffer.from(info.name!).toString(), `${hexOf(blob.digest)}.layer`);
      assert.equal(info.private, 1);
      assert.equal(info.length, size);
      assert.equal(info["piece length"], 512 * 1024);
      const bytes = Buffer.concat([...content("random", `${repository} ${size} `, size)]);
      const hashes: Buffer[] = [];
      for (let at = 0; at < size; at += 512 * 1024) {
        hashes.push(
          createHash("sha1")
            .update(bytes.subarray(at, at + 512 * 1024))
            .digest(),
        );
      }
      assert.ok(Buffer.concat(hashes).equals(info.pieces!), "SHA-1 of each piece");
    });

    test("the origin was read once, and is not read again", () => {
      assert.equal(cluster.origin.blobBytes(), size);
    });

    test("curl: JSON by POST", async () => {
      const json = ["--header", "content-type: application/json", "--data", JSON.stringify({ url })];
      assert.deepEqual(await askWithCurl(rig, cluster.seeder.url, json), expected);
    });

    test("curl: JSON by GET", async () => {
      const query = ["--get", "--data", "connect=v1", "--data", "encoding=json"];
      const message = ["--data-urlencode", `message=${JSON.stringify({ url })}`];
      assert.deepEqual(await askWithCurl(rig, cluster.seeder.url, [...query, ...message]), expected);
    });

    test("curl: JSON over h2c", async () => {
      const json = ["--header", "content-type: application/json", "--data", JSON.stringify({ url })];
      assert.deepEqual(await askWithCurl(rig, cluster.seeder.url, ["--http2-prior-knowledge", ...json]), expected);
    });

    for (const [name, transport] of Object.entries(transports())) {
      test(name, async () => {
        const client = createClient(MetaInfo, transport(cluster.seeder.url.origin));
        assert.deepEqual(Buffer.from((await client.getMetaInfo({ url })).metainfo), expected);
      });

      test(`${name}: the stream tells size, hashes, and the metainfo at last`, async () => {
        const client = createClient(MetaInfo, transport(cluster.seeder.url.origin));
        const kinds: (string | undefined)[] = [];
        let sha1s = 0;
        for await (const { event } of client.streamMetaInfo({ url })) {
          kinds.push(event.case);
          if (event.case === "blob") assert.equal(event.value.size, BigInt(size));
          if (event.case === "hashes") sha1s += event.value.sha1s.length;
          if (event.case === "reply") assert.deepEqual(Buffer.from(event.value.metainfo), expected);
        }
        assert.equal(kinds[0], "blob");
        assert.equal(kinds.at(-1), "reply");
        assert.ok(sha1s === 0 || sha1s === 20 * Math.ceil(size / (512 * 1024)), `${sha1s} bytes of hashes`);
      });
    }

    test("an old client that knows only a path", async () => {
      assert.deepEqual(Buffer.from(await askWithGrpcJs(cluster.seeder.url, path(blob.digest))), expected);
    });

    test("errors have the codes of the contract", async () => {
      const unknown = `sha256:${"0".repeat(64)}`;
      const ask = (asked: string) => askWithGrpcJs(cluster.seeder.url, asked);
      const fails = (code: status) => (error: ServiceError) => error.code === code || assert.fail(`${error}`);
      await assert.rejects(ask(`http://${registryName}${path(unknown)}`), fails(status.NOT_FOUND));
      await assert.rejects(ask(`http://evil.example${path(blob.digest)}`), fails(status.PERMISSION_DENIED));
      await assert.rejects(
        ask(`http://${registryName}/v2/${repository}/blobs/sha256:abc`),
        fails(status.INVALID_ARGUMENT),
      );
      await assert.rejects(ask(""), fails(status.INVALID_ARGUMENT));
      await assert.rejects(ask(`/v2/${repository}/manifests/1`), fails(status.INVALID_ARGUMENT));
      const empty = await cluster.pushBlob(repository, 0);
      await assert.rejects(ask(`http://${registryName}${path(empty.digest)}`), fails(status.FAILED_PRECONDITION));
    });

    test("aria2c gets the blob by the .torrent", { skip: need({ tools: ["aria2c"] }) }, async () => {
      const directory = rig.path("aria2");
      const torrent = new URL(`/torrents/${blob.digest}.torrent`, cluster.seeder.url);
      const quiet = ["--console-log-level=warn", "--summary-interval=0", "--no-conf=true", "--disable-ipv6=true"];
      const local = ["--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--interface=127.0.0.1"];
      const once = ["--seed-time=0", "--follow-torrent=mem", "--bt-stop-timeout=40", `--dir=${directory}`];
      await rig.processes.run("aria2c", [...quiet, ...local, ...once, torrent.href], { timeoutMs: 60_000 });
      assert.equal(await fileDigest(`${directory}/${hexOf(blob.digest)}.layer`), blob.digest);
      assert.equal(cluster.origin.blobBytes(blob.digest), size, "not from the origin");
    });
  });
}

test("Node and Deno make the same info dictionary", { skip }, () => {
  assert.ok(infoByRuntime.has("node") && infoByRuntime.has("deno"));
  assert.deepEqual(infoByRuntime.get("node"), infoByRuntime.get("deno"));
});

function transports(): Record<string, (baseUrl: string) => Transport> {
  return {
    "Connect over HTTP/1.1": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" }),
    "Connect over h2c": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" }),
    "Connect with GET": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1", useHttpGet: true }),
    "Connect with JSON": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
    "gRPC-Web over HTTP/1.1": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
    "gRPC over h2c": (baseUrl) => createGrpcTransport({ baseUrl }),
  };
}

/** The call as grpc-js makes it from a loaded proto. */
interface GrpcJsClient {
  getMetaInfo(
    request: { url: string },
    metadata: Metadata,
    options: { deadline: number },
    callback: (error: ServiceError | null, reply?: { metainfo: Buffer }) => void,
  ): void;
  close(): void;
}

/** Asks with the proto of the old clients: GetMetaInfo alone. */
function askWithGrpcJs(seeder: URL, url: string): Promise<Buffer> {
  const definition = loadSync("metainfo/metainfo.proto", { includeDirs: [`${repositoryRoot}proto`] });
  const loaded = loadPackageDefinition(definition) as unknown as {
    metainfo: {
      MetaInfo: new (address: string, channel: ReturnType<typeof credentials.createInsecure>) => GrpcJsClient;
    };
  };
  const client = new loaded.metainfo.MetaInfo(seeder.host, credentials.createInsecure());
  return new Promise<Buffer>((resolve, reject) => {
    client.getMetaInfo({ url }, new Metadata(), { deadline: Date.now() + 30_000 }, (error, reply) => {
      client.close();
      if (error !== null || reply === undefined) reject(error ?? new Error("no reply"));
      else resolve(reply.metainfo);
    });
  });
}

async function askWithCurl(rig: Rig, seeder: URL, args: readonly string[]): Promise<Buffer> {
  const call = new URL("/metainfo.MetaInfo/GetMetaInfo", seeder).href;
  const output = await rig.processes.run("curl", ["--silent", "--show-error", "--fail-with-body", ...args, call]);
  const { metainfo } = JSON.parse(output) as { metainfo: string };
  return Buffer.from(metainfo, "base64");
}
