/**
 * Tests of reference.
 * @module
 */
import assert from "node:assert";
import { test } from "node:test";
import { InvalidReferenceError, isRepository, parsePath, parseReference } from "./reference.ts";

const hex = "ab".repeat(32);
const digest = `sha256:${hex}`;

test("references as docker reads them", () => {
  const cases: [string, string, string, string][] = [
    ["alpine", "docker.io", "library/alpine", "latest"],
    ["alpine:3.20", "docker.io", "library/alpine", "3.20"],
    ["grafana/loki", "docker.io", "grafana/loki", "latest"],
    ["docker.io/alpine", "docker.io", "library/alpine", "latest"],
    ["index.docker.io/alpine:a", "docker.io", "library/alpine", "a"],
    ["registry-1.docker.io/library/alpine", "docker.io", "library/alpine", "latest"],
    ["ghcr.io/a/b/c:v1", "ghcr.io", "a/b/c", "v1"],
    ["Ghcr.IO/a:v1", "ghcr.io", "a", "v1"],
    ["localhost/a", "localhost", "a", "latest"],
    ["localhost:5000", "docker.io", "library/localhost", "5000"],
    ["localhost:5000/a", "localhost:5000", "a", "latest"],
    [`127.0.0.1:5000/a/b:x@${digest}`, "127.0.0.1:5000", "a/b", digest],
    ["[::1]:5000/a", "[::1]:5000", "a", "latest"],
    ["reg.example:443/a", "reg.example", "a", "latest"],
    [`alpine@${digest}`, "docker.io", "library/alpine", digest],
  ];
  for (const [text, registry, repository, reference] of cases) {
    const parsed = parseReference(text);
    assert.deepStrictEqual([parsed.registry, parsed.repository, parsed.reference], [registry, repository, reference]);
  }
  assert.strictEqual(parseReference(`a@${digest}`).tag, undefined);
  assert.strictEqual(parseReference(`a:b@${digest}`).tag, "b");
});

test("what is no reference is refused", () => {
  const wrong = [
    "",
    "/",
    "A",
    "a/B",
    "a:",
    "a@",
    "a@sha256:abc",
    `a@${digest}@${digest}`,
    "a/../b",
    "a//b",
    "reg.io/",
    "reg.io//a",
    "-a.io/b",
    "reg.io:99999999/a",
    "user@reg.io/a",
    "http://reg.io/a",
    "a/b:c/d",
    `a:${"t".repeat(129)}`,
    "a".repeat(256),
    "a b",
    "a%2fb",
    "x".repeat(10_000),
  ];
  for (const text of wrong) assert.throws(() => parseReference(text), InvalidReferenceError, text.slice(0, 100));
});

test("paths of the registry API", () => {
  assert.deepStrictEqual(parsePath("/v2/"), { kind: "base" });
  assert.deepStrictEqual(parsePath("/v2"), { kind: "base" });
  assert.deepStrictEqual(parsePath("/v2/_catalog"), { kind: "catalog" });
  assert.deepStrictEqual(parsePath("/v2/a/b/manifests/1.0"), {
    kind: "manifest",
    repository: "a/b",
    reference: "1.0",
  });
  assert.deepStrictEqual(parsePath("/v2/a/tags/list"), { kind: "tags", repository: "a" });
  assert.deepStrictEqual(parsePath("/v2/a/blobs/uploads/"), { kind: "upload", repository: "a" });
  assert.deepStrictEqual(parsePath("/v2/a/blobs/uploads/1-2_3=="), { kind: "upload", repository: "a" });
  for (const [verb, kind] of [
    ["blobs", "blob"],
    ["manifests", "manifest"],
    ["referrers", "referrers"],
  ]) {
    for (const text of [digest, digest.replace(":", "%3A"), digest.replace(":", "%3a")]) {
      const path = parsePath(`/v2/library/x/${verb}/${text}`);
      assert.strictEqual(path?.kind, kind);
      assert.ok(path && "digest" in path && path.digest?.toString() === digest && path.repository === "library/x");
    }
  }
});

test("repositories may contain the words of the API", () => {
  assert.deepStrictEqual(parsePath("/v2/a/manifests/blobs/tags/list"), {
    kind: "tags",
    repository: "a/manifests/blobs",
  });
  const path = parsePath(`/v2/blobs/uploads/blobs/${digest}`);
  assert.ok(path?.kind === "blob" && path.repository === "blobs/uploads");
  const manifest = parsePath("/v2/a/blobs/manifests/uploads");
  assert.ok(manifest?.kind === "manifest" && manifest.repository === "a/blobs");
});

test("tricks do not pass", () => {
  const wrong = [
    "",
    "/",
    "/v1/",
    "/v2/a",
    "/v2//",
    "/v2/../v2/",
    `/v2/blobs/${digest}`,
    `/v2//blobs/${digest}`,
    `/v2/a//blobs/${digest}`,
    `/v2/a/../b/blobs/${digest}`,
    `/v2/a/./blobs/${digest}`,
    `/v2/a/%2e%2e/b/blobs/${digest}`,
    `/v2/a%2fb/blobs/${digest}`,
    `/v2/a%2Fblobs%2F${digest}`,
    `/v2/a\\b/blobs/${digest}`,
    `/v2/A/blobs/${digest}`,
    `/v2/a/blobs/${digest}/`,
    `/v2/a/blobs/${digest}?x`,
    `/v2/a/blobs/${digest.toUpperCase()}`,
    "/v2/a/blobs/latest",
    "/v2/a/blobs/..",
    "/v2/a/blobs/uploads/..",
    "/v2/a/blobs/uploads/%2e%2e",
    "/v2/a/blobs/uploads/x/y",
    "/v2/a/manifests/",
    "/v2/a/manifests/..",
    "/v2/a/manifests/a%3Ab",
    "/v2/a/tags/list/",
    "/v2/a/tags/other",
    `/v2/${"a".repeat(256)}/tags/list`,
    `/v2/${"a/".repeat(100_000)}tags/list`,
    "http://x/v2/",
  ];
  for (const path of wrong) assert.strictEqual(parsePath(path), undefined, path.slice(0, 100));
});

test("the grammar answers fast for hostile names", () => {
  assert.strictEqual(isRepository(`${"a-".repeat(127)}`), false);
  assert.strictEqual(isRepository(`a${"-".repeat(253)}`), false);
  assert.strictEqual(isRepository(`a${"-".repeat(253)}b`), true);
  assert.strictEqual(isRepository("a__b"), true);
  assert.strictEqual(isRepository("a___b"), false);
  assert.strictEqual(isRepository("a..b"), false);
});
