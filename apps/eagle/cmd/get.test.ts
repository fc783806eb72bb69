/**
 * @module Images and blobs by `eagle get`, from a registry, through a proxy, and as a member of the swarm.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fakeServer, serveBlob } from "../../../lib/registry/testing/fake-registry.ts";
import { REPOSITORY, TAG } from "../demo/origin.ts";
import type { Descriptor } from "../pull/manifest.ts";
import { eagle, startEagle } from "../testing/run-eagle.ts";
import { type SmallWorld, smallWorld } from "../testing/small-world.ts";
import { tempDirectory } from "../testing/temp-directory.ts";
import { run } from "./get.ts";

let world: SmallWorld;
let image: string;
before(async () => {
  world = await smallWorld({ proxies: 1 });
  image = `${world.origin.authority}/${REPOSITORY}:${TAG}`;
});
after(() => world[Symbol.asyncDispose]());

const sentBytes = () => [...world.origin.sent.values()].reduce((sum, bytes) => sum + bytes, 0);

/** Checks every blob of a layout, and that it holds the image and nothing else. */
async function checkLayout(directory: string): Promise<void> {
  assert.equal(
    await readFile(join(directory, "oci-layout"), "utf8").then((text) => JSON.parse(text).imageLayoutVersion),
    "1.0.0",
  );
  const { manifests } = JSON.parse(await readFile(join(directory, "index.json"), "utf8")) as {
    manifests: Descriptor[];
  };
  assert.equal(manifests.length, 1);
  assert.equal(manifests[0]!.digest, world.image.manifest.digest);
  assert.equal(manifests[0]!.annotations?.["org.opencontainers.image.ref.name"], TAG);
  const names = await readdir(join(directory, "blobs", "sha256"));
  const wanted = [world.image.manifest, ...world.image.blobs].map(({ digest }) => digest.slice(7));
  assert.deepEqual(names.toSorted(), wanted.toSorted());
  for (const name of names) {
    const bytes = await readFile(join(directory, "blobs", "sha256", name));
    assert.equal(createHash("sha256").update(bytes).digest("hex"), name);
  }
}

test("an image straight from the registry; again: nothing is fetched twice", async () => {
  const output = join(world.directory, "straight");
  const first = await eagle(["get", image, "--output", output]);
  assert.equal(first.code, 0, first.stderr);
  await checkLayout(output);
  assert.match(first.stderr, /100% .*origin /);
  const sent = sentBytes();
  await writeFile(join(output, "blobs", "sha256", world.image.blobs[3]!.digest.slice(7)), "spoilt");
  const second = await eagle(["get", image, "--output", output]);
  assert.equal(second.code, 0, second.stderr);
  assert.match(second.stdout, /7 of them were there already/);
  assert.equal(sentBytes() - sent, world.image.blobs[3]!.size);
  await checkLayout(output);
});

test("an image through a running proxy", async () => {
  const output = join(world.directory, "proxied");
  const proxy = world.cluster.proxies[0]!.url;
  const { code, stdout, stderr } = await eagle(["get", "--proxy", proxy, image, "-o", output]);
  assert.equal(code, 0, stderr);
  assert.ok(stdout.includes(world.image.manifest.digest), stdout);
  await checkLayout(output);
});

test("an image as a member of the swarm: not from the registry", async () => {
  const sent = sentBytes();
  const output = join(world.directory, "member");
  const { seeder, tracker } = world.cluster;
  const args = [
    "get",
    "--seeder",
    new URL(seeder.url).host,
    "--tracker",
    new URL(tracker.url).host,
    image,
    "-o",
    output,
  ];
  const { code, stderr } = await eagle(args);
  assert.equal(code, 0, stderr);
  await checkLayout(output);
  assert.match(stderr, /100% .*(?:seeder|peer) /);
  assert.equal(sentBytes(), sent);
});

test("a blob by its URL, into a file; kept in a data directory", async () => {
  const { digest } = world.image.blobs[2]!;
  const url = `http://${world.origin.authority}/v2/${REPOSITORY}/blobs/${digest}`;
  const output = join(world.directory, "blob");
  const args = ["get", url, "-o", output, "--data", join(world.directory, "kept"), "-q"];
  const first = await eagle(args);
  assert.equal(first.code, 0, first.stderr);
  assert.equal(first.stderr, "");
  assert.equal(
    `sha256:${createHash("sha256")
      .update(await readFile(output))
      .digest("hex")}`,
    digest,
  );
  const again = await eagle(args);
  assert.equal(again.code, 0);
  assert.match(again.stdout, /is there already/);
  const files = await readdir(join(world.directory, "kept", "data"));
  assert.deepEqual(files, [`${digest.slice(7)}.layer`]);
});

test("failures: exit 1, the cause, no half files", async () => {
  const directory = join(world.directory, "failures");
  const missing = `http://${world.origin.authority}/v2/${REPOSITORY}/blobs/sha256:${"0".repeat(64)}`;
  const [noImage, noBlob, notKnown, nobody, noLayout] = await Promise.all([
    eagle(["get", `${world.origin.authority}/none:1`, "-o", join(directory, "a")]),
    eagle(["get", missing, "-o", join(world.directory, "missing")]),
    eagle(["get", "--proxy", world.cluster.proxies[0]!.url, "quay.io/org/app:1", "-o", join(directory, "b")]),
    eagle(["get", "127.0.0.1:1/app:1", "-o", join(directory, "c")]),
    eagle(["get", image, "-o", world.directory]),
  ]);
  for (const { code, stderr } of [noImage, noBlob, notKnown, nobody, noLayout]) {
    assert.equal(code, 1);
    assert.match(stderr, /^eagle get: /m);
    assert.doesNotMatch(stderr, /\n {4}at /);
  }
  assert.match(noImage.stderr, /404.*NAME_UNKNOWN/);
  assert.match(notKnown.stderr, /quay\.io is not among the allowed registries/);
  assert.match(noLayout.stderr, /holds other things/);
  assert.ok(!(await readdir(world.directory)).some((name) => name.startsWith("missing")));
});

test("Ctrl-C in the middle of a blob: not a success, no half file", async () => {
  const bytes = Buffer.alloc(1024 * 1024, 7);
  await using registry = await fakeServer((req, res) => serveBlob(req, res, bytes, { stallAfter: 512 * 1024 }));
  await using temp = await tempDirectory();
  const digest = createHash("sha256").update(bytes).digest("hex");
  const args = ["get", `${registry.url}/v2/app/blobs/sha256:${digest}`, "-o", join(temp.path, "blob")];
  await using running = startEagle(args);
  while ((await readdir(temp.path)).length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  running.signal("SIGINT");
  assert.equal((await running.ended).code, 130);
  assert.deepEqual(await readdir(temp.path), []);
});

test("a wrong command line", async () => {
  const proxy = world.cluster.proxies[0]!.url;
  const wrong = [
    [],
    ["127.0.0.1:1/UPPER/case"],
    ["http://127.0.0.1:1/x"],
    ["127.0.0.1:1/app", "--platform", "linux"],
    ["127.0.0.1:1/app", "--all", "--platform", "linux/arm64"],
    ["127.0.0.1:1/app", "--proxy", proxy, "--seeder", "127.0.0.1:1"],
    ["127.0.0.1:1/app", "--proxy", "ftp://127.0.0.1:1"],
  ];
  for (const args of wrong) await assert.rejects(run(args), { name: "UsageError" }, args.join(" "));
});
