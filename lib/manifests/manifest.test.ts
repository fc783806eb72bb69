/** @module Tests of what manifests name. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { agrees, digestOf, isCheckable, namedDigests } from "./manifest.ts";

const digest = (letter: string, algorithm = "sha256") =>
  `${algorithm}:${letter.repeat(algorithm === "sha256" ? 64 : 128)}`;
const named = (value: unknown) => namedDigests(Buffer.from(JSON.stringify(value))).map(String);

test("an image names its config and layers, but no foreign layer", () => {
  assert.deepEqual(
    named({
      config: { digest: digest("a") },
      layers: [
        { digest: digest("b") },
        { digest: digest("c"), urls: ["http://elsewhere"] },
        { digest: digest("d", "sha512") },
      ],
    }),
    [digest("a"), digest("b"), digest("d", "sha512")],
  );
});

test("an index names manifests, an artifact its blobs; each once", () => {
  assert.deepEqual(named({ manifests: [{ digest: digest("a") }, { digest: digest("a") }] }), [digest("a")]);
  assert.deepEqual(named({ blobs: [{ digest: digest("b"), urls: [] }], subject: { digest: digest("c") } }), [
    digest("b"),
  ]);
});

test("nonsense names nothing, and a flood is cut", () => {
  for (const text of [
    "",
    "nonsense",
    "[]",
    "null",
    '"x"',
    '{"layers":{}}',
    '{"layers":[null,1,{"digest":"sha256:x"}]}',
  ])
    assert.deepEqual(namedDigests(Buffer.from(text)), [], text);
  const many = Array.from({ length: 20_000 }, (_, i) => ({ digest: `sha256:${i.toString(16).padStart(64, "0")}` }));
  assert.ok(named({ layers: many }).length <= 1000);
});

test("bytes and digest agree or do not", () => {
  const bytes = Buffer.from("x");
  assert.ok(agrees(bytes, digestOf(bytes)));
  assert.ok(!agrees(Buffer.from("y"), digestOf(bytes)));
  assert.ok(isCheckable("application/vnd.oci.image.manifest.v1+json"));
  assert.ok(!isCheckable("application/vnd.docker.distribution.manifest.v1+prettyjws; charset=utf-8"));
});
