/** @module Tests of the store of manifests. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Upstreams } from "../registry/upstreams.ts";
import { digestOf, type Manifest } from "./manifest.ts";
import { ManifestFiles } from "./manifest-files.ts";
import { ManifestStore } from "./manifest-store.ts";

const upstreams = new Upstreams({ origins: ["a.example", "b.example"] });
const place = { upstream: upstreams.byName("a.example")!, repository: "x/y" };

function manifest(text: string): Manifest {
  const bytes = Buffer.from(text);
  return { digest: digestOf(bytes), mediaType: "application/json", size: bytes.length, bytes };
}

async function inDirectory(run: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "eagle-manifests-"));
  try {
    await run(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

test("each repository and registry has its own", async () => {
  const store = new ManifestStore();
  const one = manifest("{}");
  store.putManifest(place, one, { isPublic: true });
  assert.equal((await store.manifest(place, one.digest))?.isPublic, true);
  assert.equal(await store.manifest({ ...place, repository: "x/z" }, one.digest), undefined);
  assert.equal(await store.manifest({ ...place, upstream: upstreams.byName("b.example")! }, one.digest), undefined);
  store.putTag(place, "1", "a/b", one, { isPublic: true, at: 5 });
  assert.equal((await store.tag(place, "1", "a/b"))?.at, 5);
  assert.equal(await store.tag(place, "1", "c/d"), undefined, "to another Accept it may be another");
  store.dropTag(place, "1", "a/b");
  assert.equal(await store.tag(place, "1", "a/b"), undefined);
});

test("memory is bounded", async () => {
  const store = new ManifestStore({ maxBytes: 20_000, maxTags: 3 });
  const all = Array.from({ length: 10 }, (_, i) => manifest(JSON.stringify({ i, pad: "x".repeat(4000) })));
  for (const each of all) store.putManifest(place, each, { isPublic: true });
  for (const each of all) store.putTag(place, each.digest.hex, "", each, { isPublic: true, at: 0 });
  const kept = await Promise.all(all.map(({ digest }) => store.manifest(place, digest)));
  assert.ok(kept.filter(Boolean).length <= 4 && kept.at(-1));
  const tags = await Promise.all(all.map(({ digest }) => store.tag(place, digest.hex, "")));
  assert.equal(tags.filter(Boolean).length, 3);
});

test("a restart forgets nothing but when the origin was asked", async () => {
  await inDirectory(async (directory) => {
    const one = manifest('{"a":1}');
    const before = new ManifestStore({ directory });
    before.putManifest(place, one, { isPublic: true });
    before.putTag(place, "1", "", one, { isPublic: false, at: 7 });
    await before.close();
    const store = new ManifestStore({ directory });
    const found = await store.manifest(place, one.digest);
    assert.ok(found?.isPublic && Buffer.from(found.bytes).equals(Buffer.from(one.bytes)));
    const tag = await store.tag(place, "1", "");
    assert.deepEqual(
      { ...tag, digest: tag?.digest.toString() },
      { digest: one.digest.toString(), mediaType: one.mediaType, size: one.size, isPublic: false, at: undefined },
    );
    store.dropManifest(place, one.digest);
    await store.close();
    assert.equal((await readdir(directory)).length, 1);
  });
});

test("a file that was changed or torn is none", async () => {
  await inDirectory(async (directory) => {
    const one = manifest('{"a":1}');
    const before = new ManifestStore({ directory });
    before.putManifest(place, one, { isPublic: true });
    before.putTag(place, "1", "", one, { isPublic: true, at: 0 });
    await before.close();
    for (const name of await readdir(directory)) {
      const file = await readFile(join(directory, name));
      file[file.length - 2]! ^= 1;
      await writeFile(join(directory, name), name.endsWith(".tag") ? file.subarray(0, 40) : file);
    }
    const store = new ManifestStore({ directory });
    assert.equal(await store.manifest(place, one.digest), undefined);
    assert.equal(await store.tag(place, "1", ""), undefined);
    await store.close();
    assert.deepEqual(await readdir(directory), []);
  });
});

test("files are bounded, and drafts of a killed process go", async () => {
  await inDirectory(async (directory) => {
    await writeFile(join(directory, "x.draft"), "x");
    const files = new ManifestFiles({ directory, maxFiles: 50 });
    for (let i = 0; i < 200; i++) files.write(`f${i}`, Buffer.from("x"));
    await files.close();
    const names = await readdir(directory);
    assert.ok(names.length <= 50 && names.length >= 40, `${names.length}`);
    assert.ok(!names.includes("x.draft"));
  });
});

test("a directory that cannot be written costs nothing but the files", async () => {
  await inDirectory(async (directory) => {
    const file = join(directory, "file");
    await writeFile(file, "");
    const store = new ManifestStore({ directory: join(file, "below") });
    const one = manifest("{}");
    store.putManifest(place, one, { isPublic: true });
    assert.ok(await store.manifest(place, one.digest));
    await store.close();
  });
});
