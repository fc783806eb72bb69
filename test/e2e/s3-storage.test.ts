/**
 * @module The storage suite against real S3 servers, and what only they can show: signatures, many parts, many pages,
 * links, conditional writes.
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { StorageError, storageBackends } from "../../lib/storage/index.ts";
import type { RemoteStorage } from "../../lib/storage/remote/remote-storage.ts";
import { S3Store } from "../../lib/storage/s3/s3-store.ts";
import { storageSuite } from "../../lib/storage/suite.ts";
import { Rig } from "../rig/rig.ts";
import { type S3Server, s3Servers } from "../rig/s3-servers.ts";
import { need } from "../rig/tools.ts";

const mebibyte = 1 << 20;

for (const kind of s3Servers) {
  // versitygw is no package of Debian or PyPI: where it is not, that is no gap.
  const skip = need({ tools: kind.tools, optional: kind.name === "versitygw" });
  describe(`S3 at ${kind.name}`, { skip }, () => {
    let rig: Rig;
    let server: S3Server;
    let turn = 0;
    /** A storage of its own for each case: another prefix, another directory. */
    const fresh = async (overrides: Record<string, unknown> = {}) => {
      const name = `case-${turn++}`;
      const s3 = { ...server.config, prefix: name, ...overrides };
      const storage = await storageBackends.s3({ rootDirectory: rig.path(name), s3, links: true });
      return { storage: storage as RemoteStorage, s3, [Symbol.asyncDispose]: () => storage.close() };
    };
    before(async () => {
      rig = await Rig.create();
      server = await kind.start(rig);
    });
    after(() => rig.close());

    storageSuite(kind.name, () => fresh());

    it("stores in many parts what is larger than one, and leaves no trace of an upload that fails", async () => {
      await using own = await fresh();
      const { storage, s3 } = own;
      const bytes = randomBytes(21 * mebibyte + 7);
      const id = createHash("sha256").update(bytes).digest("hex");
      const path = storage.getPartialPath(id);
      await writeFile(path, bytes);
      await storage.upload(id, { path }, { verify: true });
      const stream = await storage.download(id, { start: 7 * mebibyte, end: 17 * mebibyte });
      assert.deepEqual(Buffer.concat(await all(stream)), bytes.subarray(7 * mebibyte, 17 * mebibyte));

      const other = createHash("sha256").update("other").digest("hex");
      const otherPath = storage.getPartialPath(other);
      await writeFile(otherPath, bytes);
      await assert.rejects(storage.upload(other, { path: otherPath }, { verify: true }), {
        name: "StorageError",
        code: "digest_mismatch",
      });
      assert.equal(await storage.remote.objects.head(`data/${other}.layer`), undefined);
      assert.deepEqual(await uploadsOf(s3), []);
    });

    it("reads pieces by range, verified, and keeps them on this host", async () => {
      await using own = await fresh();
      const { storage } = own;
      const bytes = randomBytes(9 * mebibyte + 5);
      const id = createHash("sha256").update(bytes).digest("hex");
      await storage.upload(id, new Blob([bytes]).stream());
      const shape = {
        size: bytes.length,
        pieceLength: mebibyte,
        verify: (piece: number, got: Uint8Array) =>
          Buffer.compare(got, bytes.subarray(piece * mebibyte, (piece + 1) * mebibyte)) === 0,
      };
      const reader = storage.remote.open(id, shape);
      const readAll = async () => {
        const got = new Uint8Array(bytes.length);
        const length = 300_001;
        const reads = Array.from({ length: Math.ceil(bytes.length / length) }, (_, index) =>
          reader.read(got.subarray(index * length, (index + 1) * length), index * length),
        );
        await Promise.all(reads);
        return got;
      };
      assert.ok(Buffer.compare(await readAll(), bytes) === 0);
      // Gone from the bucket, it is still here.
      await storage.remote.objects.delete(`data/${id}.layer`);
      assert.ok(Buffer.compare(await readAll(), bytes) === 0);
      await reader.close();

      const other = createHash("sha256").update("other").digest("hex");
      await storage.upload(other, new Blob([randomBytes(bytes.length)]).stream());
      const wrong = storage.remote.open(other, shape);
      await assert.rejects(wrong.read(new Uint8Array(10), 5), { code: "digest_mismatch" });
      await wrong.close();
    });

    it("lists page by page", async () => {
      await using own = await fresh();
      const objects = own.storage.remote.objects;
      const ids = Array.from({ length: 1_005 }, (_, index) => createHash("sha256").update(String(index)).digest("hex"));
      for (let first = 0; first < ids.length; first += 50) {
        await Promise.all(ids.slice(first, first + 50).map((id) => objects.put(`data/${id}.layer`, Buffer.from("x"))));
      }
      const listed = (await all(own.storage.list())).map(({ id }) => id);
      assert.deepEqual(listed.sort(), ids.sort());
    });

    it("signs links that anybody can read by", async () => {
      await using own = await fresh();
      const id = createHash("sha256").update("linked").digest("hex");
      await own.storage.upload(id, new Blob(["linked"]).stream());
      const link = await own.storage.remote.link(id);
      const response = await fetch(link!, { headers: { range: "bytes=1-3" } });
      assert.equal(response.status, 206);
      assert.equal(await response.text(), "ink");
    });

    it(kind.conditional ? "creates only what is not there" : "says that it knows no conditions", async () => {
      await using own = await fresh();
      const { objects } = own.storage.remote;
      const created = await Promise.all(
        Array.from({ length: 8 }, (_, index) => objects.create("one", Buffer.from(`${index}`))),
      );
      assert.equal(created.filter((each) => each === true).length, kind.conditional ? 1 : 0);
      assert.equal(created.filter((each) => each === undefined).length, kind.conditional ? 0 : 8);
      assert.deepEqual(await all(objects.list("probe/")), []);
    });

    it("tells what is wrong with a bucket that is not there", async () => {
      await assert.rejects(
        fresh({ bucket: "no-such-bucket" }),
        (error) => error instanceof StorageError && error.code === "io" && /no-such-bucket/.test(error.message),
      );
    });

    it("is refused with a wrong key", { skip: kind.checksSignatures ? false : "checks no signatures" }, async () => {
      await assert.rejects(S3Store.open({ ...server.config, secretAccessKey: "wrong" }), /credentials/);
    });

    async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
      const items: T[] = [];
      for await (const item of source) items.push(item);
      return items;
    }

    async function uploadsOf(s3: { prefix: string; bucket: string }): Promise<unknown[]> {
      const { ListMultipartUploadsCommand, S3Client } = await import("@aws-sdk/client-s3");
      const { endpoint, region, accessKeyId, secretAccessKey } = server.config;
      const credentials = { accessKeyId, secretAccessKey };
      const client = new S3Client({ endpoint: endpoint.href, region: region!, credentials, forcePathStyle: true });
      try {
        const { Uploads = [] } = await client.send(
          new ListMultipartUploadsCommand({ Bucket: s3.bucket, Prefix: s3.prefix }),
        );
        return Uploads;
      } finally {
        client.destroy();
      }
    }
  });
}
