/**
 * @module What the demo says about what it counted.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Counts, faultsOf, renderReport } from "./report.ts";

const digest = `sha256:${"a".repeat(64)}`;
const good: Counts = {
  blobs: [{ mediaType: "application/octet-stream", digest, size: 2048 }],
  sent: new Map([[digest, 2048]]),
  seeder: { origin: 2048 },
  proxies: [{ seeder: 2048 }, { peer: 1024, seeder: 1024 }],
};

test("all is well", () => {
  assert.deepEqual(faultsOf(good), []);
  const text = renderReport(good);
  assert.match(text, /^proxy 2 +1\.00 KiB +1\.00 KiB +0 B +2\.00 KiB$/m);
  assert.match(text, /1\.00 times the image, for 2 hosts/);
});

test("a blob that the origin sent again is a fault", () => {
  const faults = faultsOf({ ...good, sent: new Map([[digest, 2049]]) });
  assert.equal(faults.length, 1);
  assert.match(faults[0]!, /2049 bytes of sha256:a+, which has 2048/);
});

test("a second proxy at the origin is a fault, a first one is not", () => {
  const faults = faultsOf({ ...good, proxies: [{ origin: 2048 }, { origin: 1 }] });
  assert.deepEqual(faults, ["Proxy 2 took 1 bytes from the origin."]);
});
