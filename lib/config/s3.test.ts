/** @module Tests of `seederCfg.s3`. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { loadConfig } from "./load.ts";
import { seederConfigSchema } from "./seeder.ts";

const load = (s3: Record<string, unknown>, storageBackend = "s3") =>
  loadConfig(seederConfigSchema, { app: "seeder", object: { seederCfg: { storageBackend, s3 } } }).seederCfg.s3;

test("a bucket with everything", async () => {
  const directory = await mkdtemp(join(tmpdir(), "eagle-config-"));
  try {
    const secretAccessKeyFile = join(directory, "secret");
    await writeFile(secretAccessKeyFile, "hush\n");
    const s3 = load({
      bucket: "eagle-blobs",
      prefix: "a/b/",
      endpoint: "http://127.0.0.1:9000",
      pathStyle: true,
      accessKeyId: "me",
      secretAccessKeyFile,
      evict: "10G",
    });
    assert.deepEqual(s3, {
      bucket: "eagle-blobs",
      prefix: "a/b/",
      endpoint: new URL("http://127.0.0.1:9000/"),
      region: "us-east-1",
      pathStyle: true,
      accessKeyId: "me",
      secretAccessKey: "hush",
      presign: false,
      evict: 10 * 1024 ** 3,
    });
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("what cannot work is refused", () => {
  assert.throws(() => load({}), /seederCfg\.s3\.bucket.*missing, though storageBackend is s3/);
  assert.throws(() => load({ bucket: "Not_A_Bucket" }), /is not a bucket's name/);
  assert.throws(() => load({ bucket: "eagle-blobs", endpoint: "s3.example.com" }), /not a URL with its scheme/);
  assert.throws(() => load({ bucket: "eagle-blobs", accessKeyId: "me" }), /s3\.secretAccessKeyFile.*missing/);
  assert.throws(() => load({ bucket: "eagle-blobs", secretAccessKey: "hush" }), /s3\.accessKeyId.*missing/);
  for (const prefix of ["/", "a//b", "../a", "a b"])
    assert.throws(() => load({ bucket: "eagle-blobs", prefix }), /prefix/);
  assert.throws(() => load({ bucket: "eagle-blobs", bukket: "x" }), /Did you mean seederCfg\.s3\.bucket/);
});
