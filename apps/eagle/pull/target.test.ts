/**
 * @module What people write for an image or a blob.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTarget } from "./target.ts";

const hex = "0123456789abcdef".repeat(4);

test("image references", () => {
  const image = parseTarget("alpine");
  assert.deepEqual(image, {
    kind: "image",
    registry: "docker.io",
    repository: "library/alpine",
    reference: "latest",
    tag: "latest",
  });
  const pinned = parseTarget(`127.0.0.1:5000/a/b@sha256:${hex}`);
  assert.deepEqual(pinned, {
    kind: "image",
    registry: "127.0.0.1:5000",
    repository: "a/b",
    reference: `sha256:${hex}`,
  });
});

test("URLs keep their scheme; the names of Docker Hub are one", () => {
  const blob = parseTarget(`http://registry.example.com:5000/v2/a/b/blobs/sha256:${hex}`);
  assert.equal(blob.kind, "blob");
  assert.equal(blob.origin, "http://registry.example.com:5000");
  assert.equal(blob.registry, "registry.example.com:5000");
  const hub = parseTarget("https://registry-1.docker.io/v2/library/alpine/manifests/3.20");
  assert.equal(hub.kind, "image");
  assert.equal(hub.registry, "docker.io");
});

test("what is neither is refused", () => {
  for (const text of [
    "",
    "Upper/Case",
    "http://h/",
    "http://h/v2/",
    "http://h/v2/a/tags/list",
    `http://h/v2/a/blobs/sha256:${hex.slice(1)}`,
    `http://user:secret@h/v2/a/blobs/sha256:${hex}`,
    `http://h/v2/../a/blobs/sha256:${hex}x`,
  ]) {
    assert.throws(() => parseTarget(text), text);
  }
});
