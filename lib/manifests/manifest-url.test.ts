/** @module Tests of the URLs of manifests. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Upstreams } from "../registry/upstreams.ts";
import { locateManifest } from "./manifest-url.ts";

const upstreams = new Upstreams({ origin: "docker.io", origins: ["http://127.0.0.1:5000"] });

test("a manifest at an allowed registry", () => {
  const digest = `sha256:${"a".repeat(64)}`;
  for (const [url, name, repository, reference] of [
    ["https://registry-1.docker.io/v2/library/app/manifests/1.0", "docker.io", "library/app", "1.0"],
    [`http://127.0.0.1:5000/v2/a/manifests/manifests/${digest}`, "127.0.0.1:5000", "a/manifests", digest],
  ] as const) {
    const located = locateManifest(url, upstreams);
    assert.ok(located.kind === "manifest");
    assert.deepEqual(
      [located.place.upstream.name, located.place.repository, located.reference],
      [name, repository, reference],
    );
  }
});

test("anything else", () => {
  for (const [url, kind] of [
    ["https://quay.io/v2/a/manifests/1", "not_allowed"],
    ["https://user@registry-1.docker.io/v2/a/manifests/1", "not_allowed"],
    ["http://registry-1.docker.io/v2/a/manifests/1", "not_allowed"],
    ["https://registry-1.docker.io/v2/a/blobs/1", "malformed"],
    ["https://registry-1.docker.io/v2/a/../b/manifests/%2e%2e", "malformed"],
    ["/v2/a/manifests/1", "malformed"],
    ["", "malformed"],
    [`https://registry-1.docker.io/v2/a/manifests/1?${"x".repeat(5000)}`, "malformed"],
  ] as const)
    assert.equal(locateManifest(url, upstreams).kind, kind, url.slice(0, 80));
});
