/**
 * @module What people are told to configure.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { engineGuide } from "./engine-guide.ts";

const url = "http://127.0.0.1:43002";

test("Docker Hub", () => {
  const text = engineGuide({ url, origins: ["docker.io"] });
  assert.match(text, /"registry-mirrors": \["http:\/\/127\.0\.0\.1:43002"\]/);
  assert.match(text, /certs\.d\/docker\.io\/hosts\.toml/);
  assert.match(text, /location = "docker\.io"\n\s+\[\[registry\.mirror\]\]\n\s+location = "127\.0\.0\.1:43002"/);
});

test("another registry first: dockerd mirrors none but Docker Hub", () => {
  const text = engineGuide({ url, origins: ["http://registry.example.com:5000", "quay.io"] });
  assert.doesNotMatch(text, /registry-mirrors/);
  assert.match(text, /docker pull 127\.0\.0\.1:43002\/NAME:TAG/);
  assert.match(text, /certs\.d\/registry\.example\.com:5000\/hosts\.toml/);
  assert.match(text, /certs\.d\/quay\.io\/hosts\.toml/);
});
