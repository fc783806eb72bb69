/** @module Tests of the swarm keys. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { swarmKey } from "./keys.ts";

test("K1 is the beginning of a SHA-256 over a prefix and the digest", () => {
  const digest = `sha256:${"0".repeat(64)}`;
  const whole = createHash("sha256").update(`eagle/1\n${digest}`).digest("hex");
  const key = swarmKey(digest);
  assert.equal(key.length, 20);
  assert.equal(Buffer.from(key).toString("hex"), whole.slice(0, 40));
  // Written down, so that no change of code can part a cluster in two.
  assert.equal(Buffer.from(key).toString("hex"), "6415efbb00e6748d21a0be58e7e4989b76cdb647");
  assert.notDeepEqual(swarmKey(`sha256:${"1".repeat(64)}`), key);
});
